//! The exchange that opens every connection: who speaks which version, for which cluster, in which term.

use std::collections::BTreeSet;

use rialto_core::model::{ClusterId, Term};

use crate::convert::{At, ConvertError, Converted, Wire, expected, limits, optional, text, unless_empty};
use crate::{PROTOCOL_VERSION, v1};

/// What each side says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The cluster; none from a client that belongs to none yet.
    pub cluster: Option<ClusterId>,
    /// The master's term; 0 from clients.
    pub term: Term,
    /// What the sender can do beyond the protocol version.
    pub capabilities: BTreeSet<String>,
    /// The version of the sender's program, for people.
    pub version: String,
}

impl Hello {
    /// What a client says: the cluster it knows, if it does.
    pub fn client(cluster: Option<ClusterId>) -> Self {
        Self {
            cluster,
            term: Term::default(),
            capabilities: BTreeSet::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// What the master of `cluster` says.
    pub fn master(cluster: ClusterId, term: Term) -> Self {
        Self { term, ..Self::client(Some(cluster)) }
    }

    /// What the first frame's hello says.
    ///
    /// # Errors
    ///
    /// If there is none, or it is of another protocol version, or malformed.
    pub fn expect(hello: Option<v1::Hello>) -> Result<Self, ConvertError> {
        let hello =
            hello.ok_or_else(|| ConvertError::here("expected a hello in the first frame, got none")).at("hello")?;
        Self::from_wire(hello).at("hello")
    }
}

impl Wire for Hello {
    type Message = v1::Hello;

    fn to_wire(&self) -> v1::Hello {
        v1::Hello {
            protocol_version: PROTOCOL_VERSION,
            cluster: self.cluster.map(|cluster| cluster.to_wire()).unwrap_or_default(),
            term: self.term.0,
            capabilities: self.capabilities.iter().cloned().collect(),
            version: self.version.clone(),
        }
    }

    fn from_wire(hello: v1::Hello) -> Converted<Self> {
        let version = hello.protocol_version;
        expected(version == PROTOCOL_VERSION, || format!("expected {PROTOCOL_VERSION}, got {version}"))
            .at("protocol_version")?;
        let count = hello.capabilities.len();
        let max = limits::MAX_CAPABILITIES;
        expected(count <= max, || format!("expected at most {max}, got {count}")).at("capabilities")?;
        Ok(Self {
            cluster: optional(unless_empty(hello.cluster), "cluster")?,
            term: Term(hello.term),
            capabilities: capabilities(hello.capabilities).at("capabilities")?,
            version: text(&hello.version, "version")?.to_string(),
        })
    }
}

fn capabilities(words: Vec<String>) -> Converted<BTreeSet<String>> {
    let max = limits::MAX_NAME;
    let word = |(index, word): (usize, String)| {
        expected((1..=max).contains(&word.len()), || format!("expected 1 to {max} bytes, got {word:?}"))
            .at_index(index)?;
        Ok(word)
    };
    words.into_iter().enumerate().map(word).collect()
}
