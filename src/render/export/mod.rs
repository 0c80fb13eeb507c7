//! The stack as a template for CloudFormation or Terraform.
//!
//! It is made of the same desired nodes that `up` makes, so that the two cannot drift apart.

mod cloudformation;
mod connection;
mod declare;
mod groups;
mod kinds;
mod model;
mod parameters;
mod terraform;
mod windows;

use crate::playbook;
use crate::preflight::{Site, Situation};

pub use kinds::{How, how};
pub use model::Format;

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The two sides are two regions' or accounts'.
    #[error("the VPC and the server are in two places, and a CloudFormation stack belongs to one")]
    Apart,
    /// The scripts for the server could not be packed.
    #[error("the scripts for the server could not be packed")]
    Scripts(#[source] playbook::Error),
    /// With the user's own steps the scripts are too many.
    #[error("the scripts are {size} bytes when they are packed, and a document holds {largest}")]
    TooLarge {
        /// What they come to, in bytes of base64.
        size: usize,
        /// What a document holds of them.
        largest: usize,
    },
}

/// Returns the template of what `up` would make if nothing of it were there.
pub fn export(s: &Situation, format: Format) -> Result<String, Error> {
    let is_apart = match &s.site {
        Site::Instance(server) => server.place != s.cloud.place,
        Site::Own { .. } => false,
    };
    if is_apart && format == Format::Cloudformation {
        return Err(Error::Apart);
    }
    let template = declare::declare(s, format)?;
    let head = head(s, &template.said);
    Ok(match format {
        Format::Cloudformation => cloudformation::write(&template, &head, s.stack.as_str()),
        Format::Terraform => terraform::write(&template, &head),
    })
}

/// The comment that a template begins with.
fn head(s: &Situation, said: &[String]) -> String {
    let title = format!(
        "A Site-to-Site VPN with a Windows Server as its customer gateway, as the stack {} declares it.",
        s.stack
    );
    let marked = |text: &String| wrapped(text, "# - ", "#   ");
    let said: Vec<String> = said.iter().map(marked).collect();
    format!(
        "{}#\n# What cannot be said in it, and what is to be known:\n{}",
        wrapped(&title, "# ", "# "),
        said.concat()
    )
}

/// Breaks a sentence into lines of 100 characters at most.
fn wrapped(text: &str, first: &str, next: &str) -> String {
    let (mut all, mut line) = (String::new(), first.trim_end().to_owned());
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() >= 100 {
            all.push_str(&line);
            all.push('\n');
            next.trim_end().clone_into(&mut line);
            line.extend(std::iter::repeat_n(' ', next.len() - line.len() - 1));
        }
        line.push(' ');
        line.push_str(word);
    }
    all + &line + "\n"
}
