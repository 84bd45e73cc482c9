use bytes::Bytes;
use rialto_core::model::{
    AgentId, ClientId, ClusterId, DeviceId, ExecutorId, FrameworkId, GangId, OfferId, OperationId, Role, Selector,
    TaskId, TaskKey, Term, UpdateId, VolumeId,
};

use super::{ConvertError, Converted, Wire, bytes_of, expected, inside, number_of, required};
use crate::v1;

macro_rules! counter_ids {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            type Message = v1::$name;

            fn to_wire(&self) -> v1::$name {
                v1::$name { term: self.term.0, seq: self.seq }
            }

            fn from_wire(id: v1::$name) -> Converted<Self> {
                expected(id.seq > 0, || format!("expected a counter from 1 in seq, got term {} and seq 0", id.term))?;
                Ok(Self::new(Term(id.term), id.seq))
            }
        }
    )*};
}

counter_ids!(AgentId, FrameworkId, OfferId, GangId, OperationId);

macro_rules! random_ids {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            type Message = Bytes;

            fn to_wire(&self) -> Bytes {
                bytes_of(self.0)
            }

            fn from_wire(bytes: Bytes) -> Converted<Self> {
                number_of(&bytes).map(Self)
            }
        }
    )*};
}

random_ids!(ClientId, ClusterId, UpdateId);

macro_rules! texts {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            type Message = String;

            fn to_wire(&self) -> String {
                self.as_str().to_owned()
            }

            fn from_wire(text: String) -> Converted<Self> {
                text.parse().map_err(ConvertError::here)
            }
        }
    )*};
}

texts!(TaskId, ExecutorId, VolumeId, Role, Selector);

impl Wire for DeviceId {
    type Message = String;

    fn to_wire(&self) -> String {
        self.as_str().to_owned()
    }

    fn from_wire(name: String) -> Converted<Self> {
        let good = !name.is_empty() && name.len() <= Self::MAX_LEN && !name.contains(char::is_control);
        let what = || format!("expected 1 to {} bytes without control characters, got {name:?}", Self::MAX_LEN);
        expected(good, what)?;
        Ok(Self::new(&name))
    }
}

impl Wire for TaskKey {
    type Message = v1::TaskKey;

    fn to_wire(&self) -> v1::TaskKey {
        v1::TaskKey { framework: Some(self.framework.to_wire()), task: self.task.to_wire() }
    }

    fn from_wire(key: v1::TaskKey) -> Converted<Self> {
        Ok(Self::new(required(key.framework, "framework")?, inside(key.task, "task")?))
    }
}
