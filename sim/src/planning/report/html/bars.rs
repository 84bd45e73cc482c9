//! Amounts of several ways, as bars below each other, each of several parts.

use std::fmt::Write;

use super::super::super::questions::money;
use super::escape;

/// The bars, with the names of their parts.
pub(super) struct Bars {
    pub(super) parts: Vec<String>,
    pub(super) bars: Vec<Bar>,
}

pub(super) struct Bar {
    pub(super) name: String,
    /// One for each part; none is negative.
    pub(super) parts: Vec<f64>,
}

impl Bars {
    pub(super) fn html(&self, title: &str) -> String {
        let most = self.bars.iter().map(Bar::sum).fold(0.0, f64::max).max(1e-9);
        let mut html = format!("<figure class=\"bars\" role=\"img\" aria-label=\"{}\">", escape(title));
        for bar in &self.bars {
            let _ = write!(
                html,
                "<div class=\"bar\"><span class=\"name\">{}</span><span class=\"track\">",
                escape(&bar.name)
            );
            for (number, part) in bar.parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
                let name = self.parts.get(number).map_or("", String::as_str);
                let _ = write!(
                    html,
                    "<span class=\"part p{number}\" style=\"width:{:.2}%\" title=\"{}: {}\"></span>",
                    part / most * 100.0,
                    escape(name),
                    money(*part)
                );
            }
            let _ = write!(html, "</span><span class=\"sum\">{}</span></div>", money(bar.sum()));
        }
        html.push_str("<figcaption>");
        for (number, name) in self.parts.iter().enumerate() {
            let _ = write!(html, "<span class=\"key box p{number}\">{}</span> ", escape(name));
        }
        html.push_str("</figcaption></figure>");
        html
    }
}

impl Bar {
    fn sum(&self) -> f64 {
        self.parts.iter().sum()
    }
}
