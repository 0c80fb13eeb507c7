//! Makes text of what PowerShell writes to a stderr that is no terminal.

use crate::xml;

const HEAD: &str = "#< CLIXML";
const ERROR: &str = "<S S=\"Error\">";

/// Returns the errors in stderr as text; what is no CLIXML stays as it is.
///
/// Its head may be missing, where only the end of stderr was kept. For people alone: nothing may be
/// decided by it.
pub(super) fn plain(stderr: &str) -> String {
    let (before, objects) = match stderr.split_once(HEAD) {
        Some(halves) => halves,
        None if stderr.trim_end().ends_with("</Objs>") => ("", stderr),
        None => return stderr.to_owned(),
    };
    let errors = objects.split(ERROR).skip(1).filter_map(|rest| rest.split("</S>").next());
    before.to_owned() + &errors.map(text).collect::<String>()
}

/// Resolves the escapes of XML, then those of CLIXML: `_x000D_` is the UTF-16 unit 000D.
fn text(escaped: &str) -> String {
    let element = format!("<S>{escaped}</S>");
    let Ok(document) = xml::parse(&element) else {
        return escaped.to_owned();
    };
    let text = document.root_element().text().unwrap_or_default();
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(unit) = escape(rest) {
            units.push(unit);
            rest = &rest[7..];
        } else {
            units.extend(first.encode_utf16(&mut [0; 2]).iter());
            rest = &rest[first.len_utf8()..];
        }
    }
    String::from_utf16_lossy(&units)
}

/// Reads one escape at the beginning of a text.
fn escape(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("_x")?.get(..5)?.strip_suffix('_')?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: &str = "<Objs Version=\"1.1.0.1\" xmlns=\"http://schemas.microsoft.com/powershell/\
        2004/04\"><Obj S=\"progress\" RefId=\"0\"><I64 N=\"SourceId\">1</I64></Obj><S S=\"Error\">\
        no &lt;such&gt; _x263A_ _xD83D__xDE00_ ü file_x000D__x000A_</S><S S=\"Error\">at line 1\
        </S></Objs>";

    #[test]
    fn errors_become_text_and_progress_goes() {
        let shown = "no <such> ☺ 😀 ü file\r\nat line 1";
        assert_eq!(plain(&format!("#< CLIXML\r\n{OBJECTS}")), shown);
        assert_eq!(
            plain(&format!("native\r\n#< CLIXML\r\n{OBJECTS}")),
            format!("native\r\n{shown}")
        );
    }

    #[test]
    fn errors_without_their_beginning_become_text() {
        let (_, end) = OBJECTS.split_at(OBJECTS.rfind("<S S").unwrap() - 20);
        assert_eq!(plain(end), "at line 1");
    }

    #[test]
    fn what_is_no_clixml_stays() {
        assert_eq!(plain("_x000D_ <b>\n"), "_x000D_ <b>\n");
    }
}
