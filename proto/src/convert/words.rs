//! Core's refusals hold words that live for ever (`&'static str`). Words that arrive are kept once each, in a table with a limit.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The most words that are kept; after that any new word becomes [`OTHER`].
const MAX_WORDS: usize = 256;
/// The longest word that is kept, in bytes.
const MAX_WORD: usize = 128;
/// Stands for words that are not kept.
const OTHER: &str = "that";

static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// `word`, for ever.
pub(super) fn keep(word: &str) -> &'static str {
    // The table is a plain set: a panic elsewhere can't have left it half changed.
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(word) {
        return known;
    }
    if words.len() >= MAX_WORDS || word.len() > MAX_WORD {
        return OTHER;
    }
    let kept: &'static str = Box::leak(word.into());
    words.insert(kept);
    kept
}
