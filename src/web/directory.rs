//! Searching the directory as one types (R010 to R013): by name, number, e-mail, skill and group. It looks at what
//! configuration says, on a thread of the shell; how those are who were found, the switch says.

use model::TargetKind;

/// Longest text looked for, in characters: longer than any name.
pub(crate) const TEXT_MAX: usize = 64;

/// Somebody or something that can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What is dialled.
    pub target: Box<str>,
    /// What it is.
    pub kind: TargetKind,
    /// Display name.
    pub name: Box<str>,
    /// E-mail; may be empty.
    pub email: Box<str>,
    /// Skills, and names of the groups one is in.
    pub words: Vec<Box<str>>,
}

/// How well something fits; less is better.
type Rank = u32;

/// What fits best, `limit` at most, and whether there is more. Each word of `text` has to be found somewhere; without any,
/// everything fits. `kinds`: only these; empty: all.
pub(crate) fn search<'l>(
    list: &'l [Listed],
    text: &str,
    kinds: &[TargetKind],
    limit: usize,
) -> (Vec<&'l Listed>, bool) {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    let wanted = list.iter().filter(|one| kinds.is_empty() || kinds.contains(&one.kind));
    let mut found: Vec<(Rank, &Listed)> = wanted.filter_map(|one| Some((rank(one, &words)?, one))).collect();
    found.sort_by(|(a, one), (b, other)| (a, &one.name, &one.target).cmp(&(b, &other.name, &other.target)));
    let more = found.len() > limit;
    (found.into_iter().take(limit).map(|(_, one)| one).collect(), more)
}

/// `None`: a word is nowhere.
fn rank(one: &Listed, words: &[String]) -> Option<Rank> {
    let (name, email) = (one.name.to_lowercase(), one.email.to_lowercase());
    let target = one.target.to_lowercase();
    let others: Vec<String> = one.words.iter().map(|word| word.to_lowercase()).collect();
    let of_word = |word: &String| -> Option<Rank> {
        let starts = |text: &str| {
            text.split(|c: char| !c.is_alphanumeric())
                .any(|part| part.starts_with(&**word))
        };
        if target == *word {
            Some(0)
        } else if target.starts_with(&**word) {
            Some(1)
        } else if starts(&name) {
            Some(2)
        } else if email.starts_with(&**word) {
            Some(3)
        } else if others.iter().any(|text| starts(text) || text.starts_with(&**word)) {
            Some(4)
        } else {
            (name.contains(&**word) || email.contains(&**word)).then_some(5)
        }
    };
    words.iter().map(of_word).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Vec<Listed> {
        let one = |target: &str, kind, name: &str, words: &[&str]| Listed {
            target: target.into(),
            kind,
            name: name.into(),
            email: format!("{}@example.com", name.to_lowercase().replace(' ', ".")).into(),
            words: words.iter().map(|word| (*word).into()).collect(),
        };
        vec![
            one("1001", TargetKind::Agent, "Kate Lewis", &["german", "Support"]),
            one("1002", TargetKind::Agent, "Jim Katz", &["dutch"]),
            one("1003", TargetKind::Supervisor, "Müller Ökan", &[]),
            one("2000", TargetKind::Group, "Support", &[]),
            one("skill:german", TargetKind::Skill, "german", &[]),
        ]
    }

    fn found(text: &str, kinds: &[TargetKind]) -> Vec<String> {
        let list = list();
        let (found, _) = search(&list, text, kinds, 10);
        found.iter().map(|one| one.target.to_string()).collect()
    }

    #[test]
    fn people_are_found_by_name_number_mail_skill_and_group() {
        assert_eq!(found("1002", &[]), ["1002"]);
        assert_eq!(found("100", &[]), ["1002", "1001", "1003"], "by name among equals");
        assert_eq!(found("kat", &[]), ["1002", "1001"]);
        assert_eq!(found("lewis kate", &[]), ["1001"]);
        assert_eq!(found("kate.l", &[]), ["1001"]);
        assert_eq!(found("german", &[]), ["skill:german", "1001"]);
        assert_eq!(found("supp", &[]), ["2000", "1001"]);
        assert_eq!(found("ökan", &[]), ["1003"]);
        assert_eq!(found("ewi", &[]), ["1001"], "inside a name comes last, but comes");
        assert_eq!(found("kate dutch", &[]), Vec::<String>::new());
    }

    #[test]
    fn kinds_are_filtered_and_results_are_bounded() {
        assert_eq!(
            found("", &[TargetKind::Group, TargetKind::Skill]),
            ["2000", "skill:german"]
        );
        let list = list();
        let (found, more) = search(&list, "", &[], 2);
        assert_eq!((found.len(), more), (2, true));
        assert!(!search(&list, "", &[], 5).1);
    }
}
