//! Variables: where they come from, who wins, and how `$NAME` inside a value is replaced.
//!
//! Values come in layers, the later one winning: predefined, the file's `variables`, the job's, its `parallel: matrix`, the matching
//! rule's, and those given by hand for this run. Inside a value `$NAME` and `${NAME}` stand for the final value of that variable, an
//! undefined one for nothing, and `$$` for one `$`. A value that names its own variable means the layer below: a job's
//! `FLAGS: "$FLAGS -v"` extends the global one. Predefined and given values are taken as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{At, Found, Problem};
use super::limits::{VALUE_BYTES_MAX, VARIABLE_DEPTH_MAX};
use super::node::{Node, Value, check_name};

/// Final variables by name.
pub type Variables = BTreeMap<String, String>;

/// A variable as written, before expansion.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) at: At,
    pub(crate) text: Arc<str>,
    pub(crate) expand: Expand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expand {
    Yes,
    No,
}

pub(crate) type Layer = BTreeMap<String, Definition>;

/// Reads a `variables` mapping: scalars, or mappings with `value`, `description` and `expand`.
pub(crate) fn read(node: &Node, what: &str) -> Result<Layer, Found> {
    let mut layer = Layer::new();
    for (key, value) in &node.map(what)?.entries {
        let name = variable_name(key.at, &key.name)?;
        let definition = definition(value, &format!("variable `{name}`"))?;
        layer.insert(name, definition);
    }
    Ok(layer)
}

/// Whether a shell accepts this name for a variable.
pub fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

pub(crate) fn variable_name(at: At, name: &str) -> Result<String, Found> {
    check_name(at, "a variable's name", name)?;
    if !is_variable_name(name) {
        return Err(Found::new(at, Problem::VariableName(name.to_owned())));
    }
    Ok(name.to_owned())
}

fn definition(node: &Node, what: &str) -> Result<Definition, Found> {
    let Value::Map(map) = &node.value else {
        return scalar(node, what, Expand::Yes);
    };
    map.only(what, &["value", "description", "expand"], &[("options", "")])?;
    if let Some(description) = map.get("description") {
        description.text(&format!("`description` of {what}"))?;
    }
    let expand = match map.get("expand") {
        Some(node) if !node.boolean(&format!("`expand` of {what}"))? => Expand::No,
        _ => Expand::Yes,
    };
    match map.get("value") {
        Some(value) => scalar(value, &format!("`value` of {what}"), expand),
        None => Ok(Definition { at: node.at, text: Arc::from(""), expand }),
    }
}

/// A variable's value: any scalar, kept as it stands in the file.
pub(crate) fn scalar(node: &Node, what: &str, expand: Expand) -> Result<Definition, Found> {
    match &node.value {
        Value::Scalar { text, .. } => Ok(Definition { at: node.at, text: Arc::clone(text), expand }),
        Value::Null => Err(node.expected(what, "a string (`\"\"` for an empty one)")),
        _ => Err(node.expected(what, "a string")),
    }
}

/// Values that are final as they are.
pub(crate) fn literal(variables: &Variables) -> Layer {
    variables.iter().map(|(name, value)| (name.clone(), literal_value(value))).collect()
}

pub(crate) fn literal_value(value: &str) -> Definition {
    Definition { at: At::START, text: Arc::from(value), expand: Expand::No }
}

/// The final variables of layers, the last one winning.
pub(crate) fn resolve(layers: &[&Layer]) -> Result<Variables, Found> {
    let mut resolver = Resolver { layers, done: BTreeMap::new(), path: Vec::new() };
    let mut variables = Variables::new();
    for layer in layers {
        for name in layer.keys() {
            if !variables.contains_key(name) {
                let value = resolver.value(name, layers.len())?.unwrap_or_default();
                variables.insert(name.clone(), value);
            }
        }
    }
    Ok(variables)
}

/// Replaces the variables in a text other than a variable's value; `what` names it in the error.
pub(crate) fn expand(at: At, what: &str, text: &str, variables: &Variables) -> Result<String, Found> {
    replace(text, |name, out| {
        out.push_str(variables.get(name).map_or("", String::as_str));
        fits(at, what, out)
    })
}

struct Resolver<'a> {
    layers: &'a [&'a Layer],
    done: BTreeMap<(usize, &'a str), String>,
    /// The references being followed, outermost first.
    path: Vec<(usize, &'a str)>,
}

impl<'a> Resolver<'a> {
    /// The value of `name` as the layers under `below` give it.
    fn value(&mut self, name: &'a str, below: usize) -> Result<Option<String>, Found> {
        let layers = self.layers;
        let found = (0..below).rev().find_map(|i| Some((i, layers[i].get(name)?)));
        let Some((layer, definition)) = found else { return Ok(None) };
        let node = (layer, name);
        if let Some(value) = self.done.get(&node) {
            return Ok(Some(value.clone()));
        }
        self.check_path(node, definition.at)?;
        self.path.push(node);
        let value = match definition.expand {
            Expand::No => definition.text.to_string(),
            Expand::Yes => self.replaced(name, layer, definition)?,
        };
        self.path.pop();
        self.done.insert(node, value.clone());
        Ok(Some(value))
    }

    fn replaced(&mut self, name: &'a str, layer: usize, definition: &'a Definition) -> Result<String, Found> {
        let top = self.layers.len();
        let what = format!("variable `{name}`");
        let value = replace(&definition.text, |inner, out| {
            let below = if inner == name { layer } else { top };
            out.push_str(&self.value(inner, below)?.unwrap_or_default());
            fits(definition.at, &what, out)
        })?;
        fits(definition.at, &what, &value)?;
        Ok(value)
    }

    fn check_path(&self, node: (usize, &str), at: At) -> Result<(), Found> {
        if let Some(start) = self.path.iter().position(|seen| *seen == node) {
            let names = self.path[start..].iter().map(|(_, name)| *name).chain([node.1]);
            let circle: Vec<&str> = names.collect();
            return Err(Found::new(at, Problem::VariableCycle(circle.join(" → "))));
        }
        if self.path.len() >= VARIABLE_DEPTH_MAX {
            return Err(Found::new(at, Problem::VariablesTooDeep { name: node.1.to_owned() }));
        }
        Ok(())
    }
}

fn fits(at: At, what: &str, value: &str) -> Result<(), Found> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Found::new(at, Problem::ValueTooLong { what: what.to_owned() }));
    }
    Ok(())
}

/// Copies a text and calls `reference` for each `$NAME` and `${NAME}`; any other `$` stands for itself, `$$` for one.
fn replace<'a>(
    text: &'a str,
    mut reference: impl FnMut(&'a str, &mut String) -> Result<(), Found>,
) -> Result<String, Found> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = leading_name(after) {
            reference(name, &mut out)?;
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Splits `NAME…` or `{NAME}…` behind a dollar.
fn leading_name(text: &str) -> Option<(&str, &str)> {
    let (inner, braced) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    let end = inner.bytes().position(|b| !is_word(b)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if !is_variable_name(name) {
        return None;
    }
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    Some((name, rest))
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
