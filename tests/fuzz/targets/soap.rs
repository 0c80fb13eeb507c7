//! Answers of a WinRM service: what a command wrote arrives whole, and no answer tells more than it
//! holds.

#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cgw::transport::winrm::{Written, read_answer, read_errors};
use cgw_fuzz::{halves, is_one_saying};
use libfuzzer_sys::fuzz_target;

const COMMAND: &str = "9B2D2F0E-6C3B-4E53-9D0A-2F6D1B7C4A11";

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    match read_answer(&text, COMMAND) {
        Ok(Written { stdout, stderr, .. }) => {
            assert!(stdout.len() + stderr.len() <= text.len());
        }
        Err(error) => is_one_saying(&error.to_string()),
    }
    let plain = read_errors(&text);
    // One unit of UTF-16 may be written where three bytes are read.
    assert!(plain.len() <= 3 * text.len());
    if let Some((stdout, stderr)) = halves(input) {
        let exit = stdout.first().map(|code| i32::from(*code));
        let sent = Written { stdout: stdout.to_vec(), stderr: stderr.to_vec(), exit };
        assert_eq!(read_answer(&answer(&sent), COMMAND).unwrap(), sent);
    }
});

fn answer(Written { stdout, stderr, exit }: &Written) -> String {
    let stream = |name: &str, bytes: &[u8]| {
        let bytes = BASE64_STANDARD.encode(bytes);
        format!("<r:Stream Name=\"{name}\" CommandId=\"{COMMAND}\">{bytes}</r:Stream>")
    };
    let done = exit.map_or(String::new(), |code| {
        let state = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Done";
        format!(
            "<r:CommandState CommandId=\"{COMMAND}\" State=\"{state}\"><r:ExitCode>{code}\
             </r:ExitCode></r:CommandState>"
        )
    });
    // In any pieces.
    let (first, rest) = stdout.split_at(stdout.len() / 3);
    let streams = [stream("stdout", first), stream("stderr", stderr), stream("stdout", rest)];
    format!("<r:ReceiveResponse xmlns:r=\"r\">{}{done}</r:ReceiveResponse>", streams.concat())
}
