//! `validate TRACES quick|usual|full [CHECK ...]`: runs the validation suite and prints its table.

use rialto_sim::validate::{Effort, Options, validate};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let effort = match args.get(1).map(String::as_str) {
        Some("quick") => Effort::Quick,
        Some("full") => Effort::Full,
        _ => Effort::Usual,
    };
    let options = Options { traces: args.first().map(Into::into), only: args[2..].to_vec(), effort, threads: 2 };
    let report = validate(&options, &|done, of| eprint!("\r{done} of {of} ")).expect("the suite runs");
    for row in &report.rows {
        let columns = [&row.id.to_owned(), &row.what, &row.expected, &row.got, &row.tolerance];
        println!("{} | {}", columns.map(String::as_str).join(" | "), row.verdict.as_str());
    }
    println!("{} rows, {} failed, processor seconds {:.1?}", report.rows.len(), report.failed(), report.costs);
}
