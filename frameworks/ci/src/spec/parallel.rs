//! `parallel`: one job of the file, several of the pipeline.

use super::error::{Found, Problem};
use super::limits::PARALLEL_MAX;
use super::node::{Node, Value, check_name};
use super::variables::{Definition, Expand, Layer, literal_value, scalar, variable_name};

/// One job of the pipeline that a job of the file stands for.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) name: String,
    /// The variables of its cell of the matrix.
    pub(crate) variables: Layer,
    /// Its number from 1, if the job has `parallel`.
    pub(crate) number: Option<usize>,
}

/// A job without `parallel`.
pub(crate) fn single(name: &str) -> Vec<Instance> {
    vec![Instance { name: name.to_owned(), variables: Layer::new(), number: None }]
}

/// The instances of `parallel: N` (`job 1/3`) or `parallel: matrix` (`job: [a, b]`).
pub(crate) fn instances(job: &str, node: &Node) -> Result<Vec<Instance>, Found> {
    let what = format!("`parallel` of job `{job}`");
    let instances = match &node.value {
        Value::Map(map) => {
            map.only(&what, &["matrix"], &[])?;
            let Some(matrix) = map.get("matrix") else {
                return Err(node.expected(&what, "a number or `matrix`"));
            };
            cells(job, matrix)?
        }
        _ => numbered(job, node, &what)?,
    };
    for instance in &instances {
        check_name(node.at, "a job's name", &instance.name)?;
    }
    Ok(instances)
}

fn numbered(job: &str, node: &Node, what: &str) -> Result<Vec<Instance>, Found> {
    let max = u32::try_from(PARALLEL_MAX).expect("the limit is small");
    let total = node.integer(what, 1..=max)?;
    let instance = |number: u32| Instance {
        name: format!("{job} {number}/{total}"),
        variables: Layer::new(),
        number: Some(number as usize),
    };
    Ok((1..=total).map(instance).collect())
}

fn cells(job: &str, matrix: &Node) -> Result<Vec<Instance>, Found> {
    let what = format!("`parallel: matrix` of job `{job}`");
    let mut cells: Vec<Vec<(String, Definition)>> = Vec::new();
    for entry in matrix.list(&what)? {
        cells.extend(product(entry, &what)?);
        check_count(matrix, &what, cells.len())?;
    }
    if cells.is_empty() {
        return Err(Found::new(matrix.at, Problem::Empty(what)));
    }
    Ok(cells.into_iter().enumerate().map(|(i, cell)| instance(job, i + 1, cell)).collect())
}

fn instance(job: &str, number: usize, cell: Vec<(String, Definition)>) -> Instance {
    let values: Vec<&str> = cell.iter().map(|(_, definition)| &*definition.text).collect();
    let name = format!("{job}: [{}]", values.join(", "));
    Instance { name, variables: cell.into_iter().collect(), number: Some(number) }
}

/// Every combination of one entry's values, the last variable changing fastest.
fn product(entry: &Node, what: &str) -> Result<Vec<Vec<(String, Definition)>>, Found> {
    let variables = &entry.map(&format!("an entry of {what}"))?.entries;
    if variables.is_empty() {
        return Err(Found::new(entry.at, Problem::Empty(format!("an entry of {what}"))));
    }
    let mut cells = vec![Vec::new()];
    for (key, node) in variables {
        let name = variable_name(key.at, &key.name)?;
        let values = values(node, &format!("matrix variable `{name}`"))?;
        check_count(node, what, cells.len() * values.len())?;
        cells = cells
            .iter()
            .flat_map(|cell| {
                let name = &name;
                values.iter().map(move |value| {
                    let mut cell = cell.clone();
                    cell.push((name.clone(), value.clone()));
                    cell
                })
            })
            .collect();
    }
    Ok(cells)
}

fn values(node: &Node, what: &str) -> Result<Vec<Definition>, Found> {
    let items = node.one_or_many(what)?;
    if items.is_empty() {
        return Err(Found::new(node.at, Problem::Empty(what.to_owned())));
    }
    items.iter().map(|item| scalar(item, what, Expand::Yes)).collect()
}

fn check_count(node: &Node, what: &str, found: usize) -> Result<(), Found> {
    if found > PARALLEL_MAX {
        let what = format!("jobs of {what}");
        return Err(Found::new(node.at, Problem::TooMany { what, found, max: PARALLEL_MAX }));
    }
    Ok(())
}

/// What GitLab predefines for the members of a `parallel`.
pub(crate) fn node_variables(instance: &Instance, total: usize) -> Layer {
    let mut layer = Layer::new();
    if let Some(number) = instance.number {
        layer.insert("CI_NODE_INDEX".to_owned(), literal_value(&number.to_string()));
    }
    layer.insert("CI_NODE_TOTAL".to_owned(), literal_value(&total.to_string()));
    layer
}
