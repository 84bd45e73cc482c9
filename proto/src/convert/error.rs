use rialto_core::model::Reject;

/// What came from outside is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ConvertError {
    /// Which field, as a path: `accept.operations[2].launch.tasks[0].id`.
    pub field: String,
    /// What was expected, and what was there.
    pub message: String,
}

/// The longest message, in bytes: what it quotes may be of any length.
const MAX_MESSAGE: usize = 1024;

pub(crate) type Converted<T> = Result<T, ConvertError>;

impl ConvertError {
    /// The field at hand holds what it must not; those around it put their names in front with [`At`].
    #[expect(clippy::needless_pass_by_value, reason = "map_err hands errors over as they are")]
    pub(crate) fn here(message: impl ToString) -> Self {
        let mut message = message.to_string();
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        Self { field: String::new(), message }
    }

    fn below(mut self, parent: &str) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{parent}{dot}{}", self.field);
        self
    }
}

impl From<ConvertError> for Reject {
    fn from(error: ConvertError) -> Self {
        Self::invalid(error.field, error.message)
    }
}

/// Says where an error is, from the inside out; costs nothing where there is none.
pub(crate) trait At {
    /// It is in the field called `field`.
    fn at(self, field: &str) -> Self;
    /// It is in the element number `index`.
    fn at_index(self, index: usize) -> Self;
}

impl<T> At for Converted<T> {
    fn at(self, field: &str) -> Self {
        self.map_err(|error| error.below(field))
    }

    fn at_index(self, index: usize) -> Self {
        self.map_err(|error| error.below(&format!("[{index}]")))
    }
}
