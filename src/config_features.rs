//! features.toml: star codes, and what they switch.

use crate::config_section::{At, Section};
use switch::config::Features;
use switch::config::stars::{StarCode, Stars};

pub(crate) fn read(mut top: Section<'_>) -> (Stars, Features) {
    let max_forwards = u8::try_from(top.within("max_forwards", 3_u16, 0..=10)).unwrap_or(3);
    let call_waiting = top.or("call_waiting", true);
    let pick_up_groups = top.list("pick_up_group").into_iter().map(group).collect();
    let mut section = top.inner("codes");
    let features = into_calls(&mut section);
    let stars = Stars {
        codes: codes(section),
        max_forwards,
        call_waiting,
        pick_up_groups,
    };
    (stars, features)
}

/// Codes before an extension that lead into calls of others.
fn into_calls(section: &mut Section<'_>) -> Features {
    let usual = Features::default();
    let mut code = |name, usual: Box<str>| match section.read::<At<String>>(name) {
        Some(found) if found.value.len() == 2 && found.value.starts_with(['*', '#']) => found.value.into(),
        Some(found) => {
            section.problem(&found.place, format!("`{name}`: expected two keys like \"*8\""));
            usual
        }
        None => usual,
    };
    Features {
        pick_up: code("pick_up", usual.pick_up),
        listen: code("listen", usual.listen),
        whisper: code("whisper", usual.whisper),
        barge: code("barge", usual.barge),
    }
}

fn codes(mut section: Section<'_>) -> Vec<(Box<str>, StarCode)> {
    let mut codes: Vec<(Box<str>, StarCode)> = Vec::new();
    for (code, name, usual) in StarCode::ALL {
        let found: Option<At<String>> = section.read(name);
        let dialled = found.as_ref().map_or(usual, |found| found.value.as_str());
        if let Some(found) = &found {
            check(&section, name, found, &codes);
        }
        if !dialled.is_empty() {
            codes.push((dialled.into(), code));
        }
    }
    codes
}

fn check(section: &Section<'_>, name: &str, found: &At<String>, before: &[(Box<str>, StarCode)]) {
    let keys = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '*' || c == '#');
    let text = match &*found.value {
        "" => return,
        code if !keys(code) || !code.starts_with(['*', '#']) => {
            format!("`{name}`: expected a code like \"*78\", or \"\" for none")
        }
        code if before.iter().any(|(other, _)| **other == *code) => {
            format!("`{name}`: {code} has another meaning already")
        }
        _ => return,
    };
    section.problem(&found.place, text);
}

/// `[[pick_up_group]]`.
fn group(mut section: Section<'_>) -> Vec<Box<str>> {
    let members: Vec<String> = section.need("members").unwrap_or_default();
    members.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_section::Problems;
    use crate::config_toml::parse;

    fn read_text(text: &str) -> ((Stars, Features), Vec<String>) {
        let mut syntax = Vec::new();
        let table = parse(&"features.toml".into(), text, &mut syntax);
        let problems = Problems::new(syntax);
        let features = read(Section::new(table, &problems));
        (
            features,
            problems.into_inner().iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn codes_can_be_changed_and_taken_away() {
        assert_eq!(read_text("").0, (Stars::default(), Features::default()));
        let ((stars, features), problems) = read_text("[codes]\npick_up = \"**\"\nagent_login = \"\"\n");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((&*features.pick_up, stars.dialled("*41")), ("**", None));
    }

    #[test]
    fn a_code_is_keys_and_means_one_thing() {
        let text =
            "[codes]\ncall_waiting_on = \"*78\"\nforward_always_on = \"12\"\nagent_logn = \"*1\"\nbarge = \"2\"\n";
        let (_, problems) = read_text(text);
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(
            problems
                .iter()
                .any(|p| p.contains("`call_waiting_on`: *78 has another meaning already"))
        );
        assert!(
            problems
                .iter()
                .any(|p| p.contains("`forward_always_on`: expected a code like"))
        );
        assert!(problems.iter().any(|p| p.contains("`barge`: expected two keys")));
        assert!(problems.iter().any(|p| p.contains("did you mean `agent_login`")));
    }
}
