/// Where a walk stands with a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnPath,
    Done,
}

/// The nodes in an order in which each comes after those that it reads from, otherwise as they were; or a cycle, first node repeated
/// at its end, in the direction of the data.
pub(super) fn order(reads_from: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut marks = vec![Mark::New; reads_from.len()];
    let (mut sorted, mut path) = (Vec::new(), Vec::new());
    for node in 0..reads_from.len() {
        visit(node, reads_from, &mut marks, &mut path, &mut sorted)?;
    }
    Ok(sorted)
}

/// Recursive: its depth is bounded by the number of stages, which is small.
fn visit(
    node: usize,
    reads_from: &[Vec<usize>],
    marks: &mut [Mark],
    path: &mut Vec<usize>,
    sorted: &mut Vec<usize>,
) -> Result<(), Vec<usize>> {
    if marks[node] == Mark::Done {
        return Ok(());
    }
    path.push(node);
    if marks[node] == Mark::OnPath {
        let start = path.iter().position(|on_path| *on_path == node).expect("the node has just been pushed");
        let mut cycle = path.split_off(start);
        cycle.reverse();
        return Err(cycle);
    }
    marks[node] = Mark::OnPath;
    for before in &reads_from[node] {
        visit(*before, reads_from, marks, path, sorted)?;
    }
    path.pop();
    marks[node] = Mark::Done;
    sorted.push(node);
    Ok(())
}
