//! A map from resource names, for the one or two that there are: a sorted list, a fraction of the size of a tree's first node.

use std::ops::Index;

use super::ResourceName;

/// Values by resource name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByName<V>(Vec<(ResourceName, V)>);

impl<V> ByName<V> {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `name`.
    pub fn get(&self, name: &ResourceName) -> Option<&V> {
        self.find(name).ok().map(|at| &self.0[at].1)
    }

    /// Makes the value of `name` be `value`; what it was before.
    pub fn insert(&mut self, name: ResourceName, value: V) -> Option<V> {
        match self.find(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// Takes the value of `name` out.
    pub fn remove(&mut self, name: &ResourceName) -> Option<V> {
        self.find(name).ok().map(|at| self.0.remove(at).1)
    }

    /// Each name with its value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, &V)> {
        self.into_iter()
    }

    /// The values, by name.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Keeps those that `keep` says are to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&ResourceName, &mut V) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    fn find(&self, name: &ResourceName) -> Result<usize, usize> {
        self.0.binary_search_by(|(here, _)| here.cmp(name))
    }
}

impl<V: Default> ByName<V> {
    /// The value of `name`; made if there is none.
    pub fn or_default(&mut self, name: &ResourceName) -> &mut V {
        let at = self.find(name).unwrap_or_else(|at| {
            self.0.insert(at, (name.clone(), V::default()));
            at
        });
        &mut self.0[at].1
    }
}

impl<V> Default for ByName<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Index<&ResourceName> for ByName<V> {
    type Output = V;

    fn index(&self, name: &ResourceName) -> &V {
        self.get(name).expect("the caller knows that the name is there")
    }
}

impl<V> FromIterator<(ResourceName, V)> for ByName<V> {
    fn from_iter<I: IntoIterator<Item = (ResourceName, V)>>(values: I) -> Self {
        let mut all = Self::default();
        for (name, value) in values {
            all.insert(name, value);
        }
        all
    }
}

impl<V, const N: usize> From<[(ResourceName, V); N]> for ByName<V> {
    fn from(values: [(ResourceName, V); N]) -> Self {
        values.into_iter().collect()
    }
}

type Pair<V> = (ResourceName, V);

impl<'a, V> IntoIterator for &'a ByName<V> {
    type Item = (&'a ResourceName, &'a V);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, Pair<V>>, fn(&'a Pair<V>) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl<'a, V> IntoIterator for &'a mut ByName<V> {
    type Item = (&'a ResourceName, &'a mut V);
    type IntoIter = std::iter::Map<std::slice::IterMut<'a, Pair<V>>, fn(&'a mut Pair<V>) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut().map(|(name, value)| (&*name, value))
    }
}

impl<V> IntoIterator for ByName<V> {
    type Item = Pair<V>;
    type IntoIter = std::vec::IntoIter<Pair<V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
