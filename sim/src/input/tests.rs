use std::path::Path;

use super::*;

fn table(text: &str) -> Result<Table, InputError> {
    Table::of_text(Path::new("jobs.csv"), text.to_owned())
}

fn error<T: fmt::Debug>(result: Result<T, InputError>) -> String {
    result.expect_err("it is broken").to_string()
}

#[test]
fn rows_are_read_by_the_names_of_their_columns() {
    let table = table("b,a\n1,2\n\n3,4.5\n").expect("a table");
    let (a, b) = (table.column("a").expect("it is there"), table.column("b").expect("it is there"));
    let rows: Vec<(u64, f64)> =
        table.rows().map(|row| (row.whole(b, 9).expect("a number"), row.decimal(a, 9.0).expect("a number"))).collect();
    assert_eq!(rows, [(1, 2.0), (3, 4.5)]);
}

#[test]
fn a_broken_line_is_named_with_what_was_expected() {
    let table = table("a,b\n1,x\n7\n").expect("a table");
    let (a, b) = (table.column("a").expect("it is there"), table.column("b").expect("it is there"));
    let rows: Vec<Row<'_>> = table.rows().collect();
    assert_eq!(error(rows[0].whole(b, 9)), "jobs.csv:2: b: expected a whole number from 0 to 9, got \"x\"");
    assert_eq!(error(rows[1].text(b)), "jobs.csv:3: expected 2 fields, got 1: \"7\"");
    assert_eq!(error(rows[1].whole(a, 5)), "jobs.csv:3: a: expected a whole number from 0 to 5, got \"7\"");
    assert_eq!(error(rows[0].decimal(b, 2.0)), "jobs.csv:2: b: expected a number from 0 to 2, got \"x\"");
}

#[test]
fn no_header_no_rows_and_no_column_are_told_apart() {
    assert_eq!(error(table("")), "jobs.csv: expected a header line and at least one row, got an empty file");
    assert_eq!(error(table("a,b\n\n")), "jobs.csv: expected a header line and at least one row, got no rows");
    let missing = table("a,b\n1,2\n").expect("a table").column("c");
    assert_eq!(error(missing), "jobs.csv:1: expected a column \"c\", got \"a,b\"");
}

#[test]
fn what_is_not_a_number_is_no_number() {
    let table = table("a\nNaN\n-1\ninf\n").expect("a table");
    let a = table.column("a").expect("it is there");
    assert!(table.rows().all(|row| row.decimal(a, 10.0).is_err()));
}
