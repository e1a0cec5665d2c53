//! A seccomp profile for runtimes that has some calls answered: the runtime's own, and nothing looser.

use crate::syscalls::Call;
use serde_json::{Map, Value, json};

/// The profile that podman's package brings.
pub const PODMANS: &str = "/usr/share/containers/seccomp.json";

/// Where runtimes hand over the listeners of containers.
pub const SOCKET: &str = "/run/cgprocfs-syscalls.sock";

/// Why a profile can't be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// It is no profile of a runtime.
    #[error("it is no seccomp profile: {0}")]
    Malformed(&'static str),
    /// Of all filters of a process only one can have a listener.
    #[error("it has a listener already, {0}")]
    HasListener(String),
    /// None of the calls may be made.
    #[error("it allows neither of the calls")]
    NothingAllowed,
}

/// A profile in which calls that `base` allows are answered by whoever listens at `socket`. What it does not
/// allow, or only with certain arguments, stays as it is.
///
/// # Errors
/// Where that is no profile to begin with.
pub fn with_answers(base: Value, calls: &[Call], socket: &str) -> Result<Value, ProfileError> {
    let Value::Object(mut profile) = base else { return Err(ProfileError::Malformed("no object")) };
    if let Some(listener) =
        profile.get("listenerPath").and_then(Value::as_str).filter(|path| !path.is_empty())
    {
        return Err(ProfileError::HasListener(listener.into()));
    }
    let names: Vec<&str> = calls.iter().map(|call| call.name()).collect();
    let is_by_default = profile.get("defaultAction").and_then(Value::as_str) == Some(ALLOWED);
    let rules = profile.entry("syscalls").or_insert_with(|| json!([]));
    let rules = rules.as_array_mut().ok_or(ProfileError::Malformed("its syscalls are no list"))?;
    let mut answered = Vec::new();
    for name in names {
        let mut is_allowed = is_by_default && !rules.iter().any(|rule| names_of(rule).contains(&name));
        for rule in rules.iter_mut().filter(|rule| allows_always(rule)) {
            let Some(Value::Array(names)) = rule.get_mut("names") else { continue };
            let before = names.len();
            names.retain(|other| other != name);
            is_allowed |= names.len() < before;
        }
        // A rule that is for some containers alone, or for some arguments, would contradict.
        let is_elsewhere = rules.iter().any(|rule| names_of(rule).contains(&name));
        match (is_allowed, is_elsewhere) {
            (true, false) => answered.push(name),
            (true, true) => rules.push(rule(&[name], ALLOWED)),
            (false, _) => {}
        }
    }
    if answered.is_empty() {
        return Err(ProfileError::NothingAllowed);
    }
    rules.retain(|rule| rule.get("names").and_then(Value::as_array).is_none_or(|names| !names.is_empty()));
    rules.push(rule(&answered, "SCMP_ACT_NOTIFY"));
    profile.insert("listenerPath".into(), socket.into());
    profile.insert("listenerMetadata".into(), "cgprocfs".into());
    Ok(Value::Object(profile))
}

const ALLOWED: &str = "SCMP_ACT_ALLOW";

fn rule(names: &[&str], action: &str) -> Value {
    json!({"names": names, "action": action, "args": [], "comment": "", "includes": {}, "excludes": {}})
}

fn names_of(rule: &Value) -> Vec<&str> {
    // docker's old profiles have one name a rule.
    let one = rule.get("name").into_iter();
    let many = rule.get("names").and_then(Value::as_array).into_iter().flatten();
    one.chain(many).filter_map(Value::as_str).collect()
}

/// Whether a rule allows its calls whatever their arguments and the container.
fn allows_always(rule: &Value) -> bool {
    let is_empty = |key: &str| match rule.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::Array(values)) => values.is_empty(),
        Some(Value::Object(values)) => Map::is_empty(values),
        Some(_) => false,
    };
    rule.get("action").and_then(Value::as_str) == Some(ALLOWED)
        && ["args", "includes", "excludes"].iter().all(|key| is_empty(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [Call; 2] = [Call::SysInfo, Call::GetAffinity];

    fn made(rules: Value) -> Result<Vec<(String, Vec<String>)>, ProfileError> {
        let base = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules});
        let profile = with_answers(base, &CALLS, "/run/x")?;
        assert_eq!(profile["listenerPath"], "/run/x");
        let rules = profile["syscalls"].as_array().unwrap().iter();
        let shown = |rule: &Value| {
            let names = names_of(rule).into_iter().map(str::to_string).collect();
            (rule["action"].as_str().unwrap().to_string(), names)
        };
        Ok(rules.map(shown).collect())
    }

    fn of(action: &str, names: &[&str]) -> (String, Vec<String>) {
        (action.into(), names.iter().map(|name| (*name).to_string()).collect())
    }

    #[test]
    fn what_is_allowed_is_answered() {
        let rules = made(json!([
            {"names": ["read", "sysinfo"], "action": ALLOWED, "args": []},
            {"names": ["sched_getaffinity"], "action": ALLOWED, "includes": {}},
        ]));
        let answered = of("SCMP_ACT_NOTIFY", &["sysinfo", "sched_getaffinity"]);
        assert_eq!(rules.unwrap(), [of(ALLOWED, &["read"]), answered]);
    }

    #[test]
    fn nothing_gets_looser() {
        let rules = made(json!([
            {"names": ["sysinfo"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["sched_getaffinity"], "action": ALLOWED},
        ]));
        let answered = of("SCMP_ACT_NOTIFY", &["sched_getaffinity"]);
        assert_eq!(rules.unwrap(), [of("SCMP_ACT_ERRNO", &["sysinfo"]), answered]);
        for rules in [
            json!([]),
            json!([{"names": ["sysinfo"], "action": ALLOWED, "args": [{"index": 0}]}]),
            json!([{"names": ["sysinfo"], "action": ALLOWED, "includes": {"caps": ["CAP_SYS_ADMIN"]}}]),
        ] {
            assert_eq!(made(rules), Err(ProfileError::NothingAllowed));
        }
        let both = made(json!([
            {"names": ["sysinfo", "sched_getaffinity"], "action": ALLOWED},
            {"names": ["sysinfo"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0}]},
        ]));
        assert!(both.unwrap().contains(&of(ALLOWED, &["sysinfo"])), "a rule for some arguments stays");
    }

    #[test]
    fn a_profile_that_allows_what_it_does_not_name() {
        let base = json!({"defaultAction": ALLOWED});
        let profile = with_answers(base, &[Call::SysInfo], "/run/x").unwrap();
        assert_eq!(names_of(&profile["syscalls"][0]), ["sysinfo"]);
        let refused = json!([{"name": "sysinfo", "action": "SCMP_ACT_ERRNO"}]);
        let base = json!({"defaultAction": ALLOWED, "syscalls": refused});
        assert_eq!(with_answers(base, &[Call::SysInfo], "/run/x"), Err(ProfileError::NothingAllowed));
    }

    #[test]
    fn what_is_no_profile() {
        assert!(matches!(with_answers(json!([]), &CALLS, "/x"), Err(ProfileError::Malformed(_))));
        assert!(matches!(
            with_answers(json!({"syscalls": 7}), &CALLS, "/x"),
            Err(ProfileError::Malformed(_))
        ));
        let taken = json!({"listenerPath": "/run/other", "defaultAction": ALLOWED});
        assert_eq!(with_answers(taken, &CALLS, "/x"), Err(ProfileError::HasListener("/run/other".into())));
    }
}
