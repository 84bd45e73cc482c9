//! Tables as comma-separated text: a header line, then one row a line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Why a file of input is not usable.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It can't be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        error: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{}: expected a header line and at least one row, got {got}", file.display())]
    Empty {
        /// Which file.
        file: PathBuf,
        /// What is there instead.
        got: &'static str,
    },
    /// A column is missing.
    #[error("{}:1: expected a column {column:?}, got {header:?}", file.display())]
    NoColumn {
        /// Which file.
        file: PathBuf,
        /// Which column.
        column: &'static str,
        /// The header line.
        header: String,
    },
    /// It is no table, and not what it should be.
    #[error("{}: {what}", file.display())]
    Content {
        /// Which file.
        file: PathBuf,
        /// What was expected, and where.
        what: String,
    },
    /// A line is broken.
    #[error("{}:{line}: {what}", file.display())]
    Line {
        /// Which file.
        file: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What was expected, and what is there.
        what: String,
    },
}

/// A table that was read whole.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    file: PathBuf,
    header: Vec<String>,
    text: String,
}

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    table: &'a Table,
    /// Counted from 1.
    line: usize,
    text: &'a str,
}

/// Where a column is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    at: usize,
}

impl Table {
    pub(crate) fn read(file: &Path) -> Result<Self, InputError> {
        let unreadable = |error| InputError::Unreadable { file: file.to_owned(), error };
        let bytes = std::fs::read(file).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let line =
                error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            InputError::Line { file: file.to_owned(), line: line + 1, what: "expected text in UTF-8".to_owned() }
        })?;
        Self::of_text(file, text)
    }

    pub(crate) fn of_text(file: &Path, text: String) -> Result<Self, InputError> {
        let empty = |got| InputError::Empty { file: file.to_owned(), got };
        let first = text.lines().next().ok_or_else(|| empty("an empty file"))?;
        let header = first.trim_start_matches('\u{feff}').split(',').map(|name| name.trim().to_owned()).collect();
        let table = Self { file: file.to_owned(), header, text };
        if table.rows().next().is_none() {
            return Err(empty("no rows"));
        }
        Ok(table)
    }

    /// The column called `name`.
    pub(crate) fn column(&self, name: &'static str) -> Result<Column, InputError> {
        self.optional(name).ok_or_else(|| InputError::NoColumn {
            file: self.file.clone(),
            column: name,
            header: self.header.join(","),
        })
    }

    /// The column called `name`, if there is one.
    pub(crate) fn optional(&self, name: &'static str) -> Option<Column> {
        let at = self.header.iter().position(|column| column == name)?;
        Some(Column { name, at })
    }

    /// The rows; empty lines are passed over.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let lines = self.text.lines().enumerate().skip(1);
        lines.filter(|(_, text)| !text.trim().is_empty()).map(|(at, text)| Row { table: self, line: at + 1, text })
    }
}

impl<'a> Row<'a> {
    /// What stands in `column`.
    pub(crate) fn text(&self, column: Column) -> Result<&'a str, InputError> {
        let field = self.text.split(',').nth(column.at).map(str::trim);
        field.ok_or_else(|| {
            let fields = self.text.split(',').count();
            self.error(format!("expected {} fields, got {fields}: {:?}", self.table.header.len(), self.text))
        })
    }

    /// What stands in `column`, as a number from 0 to `max`.
    pub(crate) fn whole(&self, column: Column, max: u64) -> Result<u64, InputError> {
        self.number(column, format_args!("a whole number from 0 to {max}"), |number: &u64| *number <= max)
    }

    /// What stands in `column`, as a number from 0 to `max` that may have a fraction.
    pub(crate) fn decimal(&self, column: Column, max: f64) -> Result<f64, InputError> {
        self.number(column, format_args!("a number from 0 to {max}"), |number: &f64| (0.0..=max).contains(number))
    }

    /// The error that this line is broken.
    pub(crate) fn error(&self, what: impl Into<String>) -> InputError {
        InputError::Line { file: self.table.file.clone(), line: self.line, what: what.into() }
    }

    fn number<T: FromStr>(
        &self,
        column: Column,
        expected: fmt::Arguments<'_>,
        is_good: impl Fn(&T) -> bool,
    ) -> Result<T, InputError> {
        let text = self.text(column)?;
        let number = text.parse().ok().filter(is_good);
        number.ok_or_else(|| self.error(format!("{}: expected {expected}, got {text:?}", column.name)))
    }
}

#[cfg(test)]
mod tests;
