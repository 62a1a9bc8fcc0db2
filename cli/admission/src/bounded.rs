//! Texts and lists that are bounded while they are read. Of what is too long the beginning is kept, and that there is more:
//! whoever judges it says so, instead of taking the beginning for all.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// The beginning of a text: `MOST` bytes of it.
#[derive(Debug, Default)]
pub(crate) struct Start<const MOST: usize> {
    text: String,
    is_cut: bool,
}

/// Those elements of a list that count, each with its place in it: the first [`MAX_PLACES`].
#[derive(Debug)]
pub(crate) struct List<T> {
    pub(crate) elements: Vec<(usize, T)>,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// An element of a list.
pub(crate) trait Counted {
    /// Whether it is of interest.
    fn counts(&self) -> bool;
}

impl<const MOST: usize> Counted for Start<MOST> {
    fn counts(&self) -> bool {
        true
    }
}

impl<const MOST: usize> Start<MOST> {
    /// Most bytes of the text.
    pub(crate) const MOST: usize = MOST;

    fn of(text: &str) -> Self {
        let mut end = text.len().min(MOST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            text: text.get(..end).unwrap_or_default().to_owned(),
            is_cut: end < text.len(),
        }
    }

    /// Whether it is no text at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// All of the text; none where it is too long.
    pub(crate) fn whole(&self) -> Option<&str> {
        (!self.is_cut).then_some(self.text.as_str())
    }

    /// The text for people.
    pub(crate) fn shown(&self) -> String {
        match self.is_cut {
            true => format!("{}...", self.text),
            false => self.text.clone(),
        }
    }
}

impl<'de, const MOST: usize> Deserialize<'de> for Start<MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<const MOST: usize>;
        impl<const MOST: usize> Visitor<'_> for Reader<MOST> {
            type Value = Start<MOST>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Start<MOST>, E> {
                Ok(Start::of(text))
            }
        }
        deserializer.deserialize_str(Reader::<MOST>)
    }
}

/// A text that Kubernetes itself writes, or that is no longer than [`MAX_SHORT`]; a longer one is an error.
pub(crate) fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = Start::<MAX_SHORT>::deserialize(deserializer)?;
    match text.is_cut {
        true => Err(D::Error::custom(format_args!(
            "a text has more than {MAX_SHORT} bytes"
        ))),
        false => Ok(text.text),
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            elements: Vec::new(),
            more: false,
        }
    }
}

impl<'de, T: Deserialize<'de> + Counted> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Counted> Visitor<'de> for Reader<T> {
            type Value = List<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<List<T>, A::Error> {
                let mut list = List::default();
                let mut at: usize = 0;
                while let Some(element) = all.next_element::<T>()? {
                    if element.counts() {
                        list.more = list.elements.len() >= MAX_PLACES;
                        if !list.more {
                            list.elements.push((at, element));
                        }
                    }
                    at = at.saturating_add(1);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(Reader::<T>(PhantomData))
    }
}

/// Longest text that Kubernetes itself writes into a review.
const MAX_SHORT: usize = 253;
/// Most elements of a list that are looked at, and most places of images of one object.
pub(crate) const MAX_PLACES: usize = 1000;
