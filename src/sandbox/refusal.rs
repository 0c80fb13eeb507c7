//! How the simulated AWS says no.

/// An error as AWS answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// AWS's code (EC2 API reference, «Error codes»).
    pub(super) code: String,
    /// A sentence.
    pub(super) message: String,
}

impl Refusal {
    /// Refuses a request for what it asks.
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.to_owned(), message: message.into() }
    }

    /// Refuses with another status than 400.
    pub(super) fn with_status(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, ..Self::new(code, message) }
    }

    /// Says that a parameter is missing.
    pub(super) fn missing(name: &str) -> Self {
        let text = format!("The request must contain the parameter {name}");
        Self::new("MissingParameter", text)
    }

    /// Says that a value is wrong.
    pub(super) fn invalid(name: &str, value: &str) -> Self {
        Self::new(
            "InvalidParameterValue",
            format!("Value ({value}) for parameter {name} is invalid."),
        )
    }

    /// Says that there is no object of an id.
    pub(super) fn not_found(code: &str, id: &str) -> Self {
        Self::new(code, format!("The ID '{id}' does not exist"))
    }
}
