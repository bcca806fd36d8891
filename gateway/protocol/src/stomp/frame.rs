//! A frame from a client.

use std::ops::Range;

use bytes::Bytes;

use super::command::Command;

/// A whole frame from a client. It owns what it holds: frames may wait for their transaction's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it asks for.
    pub command: Command,
    headers: Headers,
    /// Its body, which need not be text. Empty if there is none.
    pub body: Bytes,
}

impl Frame {
    /// A frame of these parts.
    pub fn new(command: Command, headers: Headers, body: Bytes) -> Self {
        Self {
            command,
            headers,
            body,
        }
    }

    /// The value of a header, unescaped; the first one where it is repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Its headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }
}

/// A frame's headers, in their order: names and values, unescaped. A name may be repeated.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// All names and values, one after the other.
    text: String,
    entries: Vec<Entry>,
}

/// Where a header's parts are in the text.
#[derive(Debug, Clone)]
struct Entry {
    name: Range<usize>,
    value: Range<usize>,
}

impl Headers {
    /// No headers, and room for what most frames have if there are so many bytes to come.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        const USUAL_BYTES: usize = 192;
        const USUAL_HEADERS: usize = 4;
        Self {
            text: String::with_capacity(bytes.min(USUAL_BYTES)),
            entries: Vec::with_capacity(USUAL_HEADERS),
        }
    }

    /// The value of a header; the first one where it is repeated.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(other, value)| (other == name).then_some(value))
    }

    /// The headers, repeated ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| {
            (
                &self.text[entry.name.clone()],
                &self.text[entry.value.clone()],
            )
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes all names and values have.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds a header whose parts `write_name` and `write_value` append to the text.
    pub(super) fn try_push<E>(
        &mut self,
        write_name: impl FnOnce(&mut String) -> Result<(), E>,
        write_value: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.text.len();
        write_name(&mut self.text)?;
        let name_end = self.text.len();
        write_value(&mut self.text)?;
        self.entries.push(Entry {
            name: start..name_end,
            value: name_end..self.text.len(),
        });
        Ok(())
    }

    /// Takes away the white space around values.
    pub(super) fn trim_values(&mut self) {
        for entry in &mut self.entries {
            let value = &self.text[entry.value.clone()];
            let end = entry.value.start + value.trim_ascii_end().len();
            let start = entry.value.end - value.trim_ascii_start().len();
            entry.value = start.min(end)..end;
        }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(headers: I) -> Self {
        let mut all = Self::default();
        for (name, value) in headers {
            let start = all.text.len();
            all.text.push_str(name);
            let name_end = all.text.len();
            all.text.push_str(value);
            all.entries.push(Entry {
                name: start..name_end,
                value: name_end..all.text.len(),
            });
        }
        all
    }
}

/// What is between the parts of a text that was trimmed makes no difference.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}
