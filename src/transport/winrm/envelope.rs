//! Writes and reads the messages of a remote shell (MS-WSMV 2.2.4, 3.1.4; DSP0226).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use roxmltree::Node;
use uuid::Uuid;

use crate::xml::{self, parse};

/// How long the server may think about a request: well below the 60 s that it allows by itself.
pub(super) const OPERATION_SECONDS: u64 = 20;
/// After how long a shell that nobody asks anything goes away. A shell whose client is gone must
/// not count for long: a user may have 30.
const IDLE_SECONDS: u64 = 180;

const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
const MICROSOFT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd";

/// Where Windows keeps its PowerShell: without `cmd` nobody looks along the PATH, and Windows
/// answers `powershell.exe` with «cannot find the file».
const POWERSHELL: &str = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";

/// What a shell can be asked.
pub(super) enum Request<'a> {
    /// To exist.
    Create,
    /// To start a command.
    Command {
        /// Its command line.
        line: &'a str,
    },
    /// To give a command some of its stdin.
    Send {
        /// Its id.
        command: &'a str,
        /// The bytes.
        chunk: &'a [u8],
        /// Whether stdin ends here.
        is_last: bool,
    },
    /// For what a command has written.
    Receive {
        /// Its id.
        command: &'a str,
    },
    /// To end a command.
    Terminate {
        /// Its id.
        command: &'a str,
    },
    /// To go.
    Delete,
}

impl Request<'_> {
    /// Writes the whole message to the shell with an id, or to one that is still to be made.
    pub(super) fn envelope(&self, to: &str, session: Uuid, shell: Option<&str>) -> String {
        let mut options = String::new();
        for (name, value) in self.options() {
            write!(options, "<w:Option Name=\"{name}\">{value}</w:Option>").expect(TEXT);
        }
        if !options.is_empty() {
            options = format!("<w:OptionSet s:mustUnderstand=\"true\">{options}</w:OptionSet>");
        }
        let selector = shell.map_or_else(String::new, |id| {
            let id = escaped(id);
            format!("<w:SelectorSet><w:Selector Name=\"ShellId\">{id}</w:Selector></w:SelectorSet>")
        });
        let (to, action, body) = (escaped(to), self.action(), self.body());
        let (message, session) = (upper(Uuid::new_v4()), upper(session));
        format!(
            "<s:Envelope xmlns:s=\"{SOAP}\" xmlns:a=\"{ADDRESSING}\" xmlns:w=\"{WSMAN}\" \
             xmlns:p=\"{MICROSOFT}\" xmlns:rsp=\"{SHELL}\"><s:Header><a:To>{to}</a:To><a:ReplyTo>\
             <a:Address s:mustUnderstand=\"true\">{ADDRESSING}/role/anonymous</a:Address>\
             </a:ReplyTo><a:Action s:mustUnderstand=\"true\">{action}</a:Action>\
             <a:MessageID>uuid:{message}</a:MessageID>\
             <w:MaxEnvelopeSize s:mustUnderstand=\"true\">153600</w:MaxEnvelopeSize>\
             <w:Locale xml:lang=\"en-US\" s:mustUnderstand=\"false\"/>\
             <p:DataLocale xml:lang=\"en-US\" s:mustUnderstand=\"false\"/>\
             <p:SessionId s:mustUnderstand=\"false\">uuid:{session}</p:SessionId>\
             <w:OperationTimeout>PT{OPERATION_SECONDS}S</w:OperationTimeout>\
             <w:ResourceURI s:mustUnderstand=\"true\">{SHELL}/cmd</w:ResourceURI>\
             {options}{selector}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        )
    }

    fn action(&self) -> String {
        match self {
            Self::Create => format!("{TRANSFER}/Create"),
            Self::Command { .. } => format!("{SHELL}/Command"),
            Self::Send { .. } => format!("{SHELL}/Send"),
            Self::Receive { .. } => format!("{SHELL}/Receive"),
            Self::Terminate { .. } => format!("{SHELL}/Signal"),
            Self::Delete => format!("{TRANSFER}/Delete"),
        }
    }

    /// Code page 65001 is UTF-8. Without `cmd` a command line may have 32,767 characters, not 8,191.
    fn options(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Create => &[("WINRS_NOPROFILE", "FALSE"), ("WINRS_CODEPAGE", "65001")],
            Self::Command { .. } => {
                &[("WINRS_CONSOLEMODE_STDIN", "FALSE"), ("WINRS_SKIP_CMD_SHELL", "TRUE")]
            }
            Self::Receive { .. } => &[("WSMAN_CMDSHELL_OPTION_KEEPALIVE", "TRUE")],
            Self::Send { .. } | Self::Terminate { .. } | Self::Delete => &[],
        }
    }

    fn body(&self) -> String {
        match self {
            Self::Create => format!(
                "<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams>\
                 <rsp:OutputStreams>stdout stderr</rsp:OutputStreams>\
                 <rsp:IdleTimeOut>PT{IDLE_SECONDS}S</rsp:IdleTimeOut></rsp:Shell>"
            ),
            Self::Command { line } => {
                let (program, arguments) = split(line);
                let mut body = format!("<rsp:Command>{}</rsp:Command>", escaped(program));
                if !arguments.is_empty() {
                    write!(body, "<rsp:Arguments>{}</rsp:Arguments>", escaped(arguments))
                        .expect(TEXT);
                }
                format!("<rsp:CommandLine>{body}</rsp:CommandLine>")
            }
            Self::Send { command, chunk, is_last } => format!(
                "<rsp:Send><rsp:Stream Name=\"stdin\" CommandId=\"{}\" End=\"{is_last}\">{}\
                 </rsp:Stream></rsp:Send>",
                escaped(command),
                BASE64_STANDARD.encode(chunk)
            ),
            Self::Receive { command } => format!(
                "<rsp:Receive><rsp:DesiredStream CommandId=\"{}\">stdout stderr\
                 </rsp:DesiredStream></rsp:Receive>",
                escaped(command)
            ),
            Self::Terminate { command } => format!(
                "<rsp:Signal CommandId=\"{}\"><rsp:Code>{SHELL}/signal/terminate</rsp:Code>\
                 </rsp:Signal>",
                escaped(command)
            ),
            Self::Delete => String::new(),
        }
    }
}

const TEXT: &str = "a text takes whatever is written to it";

/// Separates the program from its arguments, which Windows joins again with a space.
fn split(line: &str) -> (&str, &str) {
    let (program, arguments) = match line.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        Some((program, rest)) => (program, rest.trim_start()),
        None => line.split_once(' ').unwrap_or((line, "")),
    };
    let is_powershell = program.eq_ignore_ascii_case("powershell.exe");
    (if is_powershell { POWERSHELL } else { program }, arguments)
}

/// Windows knows ids in capitals only.
fn upper(id: Uuid) -> String {
    id.to_string().to_uppercase()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Why an answer makes no sense.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the answer cannot be read")]
    Xml(#[from] xml::Error),
    #[error("the answer has no {0}")]
    Missing(&'static str),
    #[error("the answer has output that is no base64")]
    Output(#[from] base64::DecodeError),
    #[error("the answer has an exit code that is no number")]
    Code(#[from] std::num::ParseIntError),
}

/// What the server says when it does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{text} ({subcode}, code {code})")]
pub(super) struct Fault {
    subcode: String,
    code: String,
    text: String,
}

impl Fault {
    /// Says whether the time for the operation is over, and nothing else is wrong.
    pub(super) fn is_timeout(&self) -> bool {
        self.code == "2150858793"
    }

    /// Says whether the user may not do it: Windows' own code, or the same from a plug-in of WinRM.
    pub(super) fn is_access_denied(&self) -> bool {
        matches!(self.code.as_str(), "5" | "2147942405")
    }
}

/// Returns the fault that an answer may be.
pub(super) fn fault(xml: &str) -> Result<Option<Fault>, Unreadable> {
    let document = parse(xml)?;
    let Some(fault) = find(document.root(), "Fault") else {
        return Ok(None);
    };
    let text = |name| text_of(fault, name).unwrap_or_default().trim().to_owned();
    let subcode = find(fault, "Subcode").and_then(|subcode| text_of(subcode, "Value"));
    let code = find(fault, "WSManFault").and_then(|fault| fault.attribute("Code"));
    Ok(Some(Fault {
        subcode: subcode.unwrap_or("no subcode").trim().to_owned(),
        code: code.unwrap_or("none").to_owned(),
        text: text("Text"),
    }))
}

/// Reads the id of the shell that was made.
pub(super) fn shell_id(xml: &str) -> Result<String, Unreadable> {
    let document = parse(xml)?;
    let mut selectors = document.descendants().filter(|node| node.tag_name().name() == "Selector");
    selectors
        .find(|selector| selector.attribute("Name") == Some("ShellId"))
        .and_then(|selector| selector.text())
        .map(str::to_owned)
        .ok_or(Unreadable::Missing("shell id"))
}

/// Reads the id of the command that was started.
pub(super) fn command_id(xml: &str) -> Result<String, Unreadable> {
    let document = parse(xml)?;
    let id = text_of(document.root(), "CommandId").ok_or(Unreadable::Missing("command id"))?;
    Ok(id.to_owned())
}

/// Where a command has written something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Stdout,
    Stderr,
}

/// What a command has written since it was last asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) pieces: Vec<(Channel, Vec<u8>)>,
    /// Its exit code, once it has ended and all of its output has been told.
    pub(super) exit: Option<i32>,
}

/// Reads the output of a command.
pub(super) fn output(xml: &str, command: &str) -> Result<Output, Unreadable> {
    let document = parse(xml)?;
    let of_command = |name: &'static str| {
        document.descendants().filter(move |node| {
            node.tag_name().name() == name && node.attribute("CommandId") == Some(command)
        })
    };
    let mut pieces = Vec::new();
    for stream in of_command("Stream") {
        let channel = match stream.attribute("Name") {
            Some("stdout") => Channel::Stdout,
            Some("stderr") => Channel::Stderr,
            _ => continue,
        };
        let bytes = BASE64_STANDARD.decode(stream.text().unwrap_or_default().trim())?;
        pieces.push((channel, bytes));
    }
    let is_done = |state: &Node<'_, '_>| {
        state.attribute("State").is_some_and(|state| state.ends_with("/CommandState/Done"))
    };
    let exit = match of_command("CommandState").find(is_done) {
        None => None,
        Some(state) => {
            let code = text_of(state, "ExitCode").ok_or(Unreadable::Missing("exit code"))?;
            Some(exit_code(code.trim().parse()?))
        }
    };
    Ok(Output { pieces, exit })
}

/// Windows tells a code such as C000013A as an unsigned number.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is the code")]
fn exit_code(told: i64) -> i32 {
    told as i32
}

fn find<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.descendants().find(|node| node.tag_name().name() == name)
}

fn text_of<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    find(node, name)?.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_its_program_and_the_rest() {
        assert_eq!(split("PowerShell.exe -File a b"), (POWERSHELL, "-File a b"));
        assert_eq!(split(r#""C:\a b\c.exe" "d e" f"#), (r"C:\a b\c.exe", r#""d e" f"#));
        assert_eq!(split(r"C:\c.exe"), (r"C:\c.exe", ""));
    }

    #[test]
    fn what_has_a_meaning_in_xml_arrives_as_it_was() {
        let hostile = r#"<&>" ]]> 'ü'"#;
        let line = format!("cmd {hostile}");
        let xml =
            Request::Command { line: &line }.envelope("http://a/?b&c", Uuid::nil(), Some("1<2"));
        let document = parse(&xml).unwrap();
        assert_eq!(text_of(document.root(), "Arguments"), Some(hostile));
        assert_eq!(text_of(document.root(), "Selector"), Some("1<2"));
        assert_eq!(text_of(document.root(), "To"), Some("http://a/?b&c"));
    }

    #[test]
    fn output_is_told_apart_by_command_and_channel() {
        let xml = format!(
            "<r xmlns:r=\"{SHELL}\"><r:Stream CommandId=\"A\" Name=\"stdout\">YWI=</r:Stream>\
             <r:Stream CommandId=\"B\" Name=\"stdout\">!</r:Stream>\
             <r:Stream CommandId=\"A\" Name=\"stderr\" End=\"true\"/>\
             <r:CommandState CommandId=\"A\" State=\"{SHELL}/CommandState/Done\">\
             <r:ExitCode>3221225786</r:ExitCode></r:CommandState></r>"
        );
        let pieces = vec![(Channel::Stdout, b"ab".to_vec()), (Channel::Stderr, Vec::new())];
        let exit = Some(-1_073_741_510);
        assert_eq!(output(&xml, "A").unwrap(), Output { pieces, exit });
        let running = xml.replace("Done", "Running");
        assert_eq!(output(&running, "A").unwrap().exit, None);
        assert!(matches!(output(&xml, "B"), Err(Unreadable::Output(_))));
        let without = xml.replace("ExitCode", "Other");
        assert!(matches!(output(&without, "A"), Err(Unreadable::Missing("exit code"))));
    }
}
