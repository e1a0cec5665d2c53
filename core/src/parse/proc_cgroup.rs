//! `/proc/PID/cgroup` (cgroups(7)): where a process is in each hierarchy.

use super::{CgroupVersion, ParseError, lines};

/// One line, `ID:CONTROLLERS:PATH`.
///
/// A path may contain colons, spaces and backslashes, none of them escaped, so only the first two
/// colons separate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Comma-separated controllers of a v1 hierarchy, `name=…` for a v1 hierarchy without any, empty
    /// for cgroup v2.
    pub controllers: &'a [u8],
    /// Path of the cgroup, absolute from the root of the reader's cgroup namespace.
    pub path: &'a [u8],
}

impl<'a> Membership<'a> {
    /// Parses the file, line by line.
    ///
    /// # Errors
    /// Where the text is cut short; and each item fails with [`ParseError::MalformedLine`] where a line has
    /// fewer than two colons or its path is not absolute.
    pub fn parse_all(text: &'a [u8]) -> Result<impl Iterator<Item = Result<Self, ParseError>>, ParseError> {
        Ok(lines(text)?.map(|line| {
            let mut fields = line.splitn(3, |&b| b == b':');
            match (fields.next(), fields.next(), fields.next()) {
                (Some(_), Some(controllers), Some(path)) if path.starts_with(b"/") => {
                    Ok(Self { controllers, path })
                }
                _ => Err(ParseError::MalformedLine),
            }
        }))
    }

    /// Parses the line of the hierarchy that has the memory controller: of v1 if there is one, or else of v2.
    ///
    /// # Errors
    /// [`ParseError`] if a line is malformed.
    pub fn parse_of_memory(text: &'a [u8]) -> Result<Option<Self>, ParseError> {
        let mut found = None;
        for membership in Self::parse_all(text)? {
            let membership = membership?;
            if membership.has_controller("memory") {
                return Ok(Some(membership));
            }
            found = found.or(membership.is_v2().then_some(membership));
        }
        Ok(found)
    }

    /// Which version the hierarchy is of.
    #[must_use]
    pub fn version(&self) -> CgroupVersion {
        if self.is_v2() { CgroupVersion::V2 } else { CgroupVersion::V1 }
    }

    /// Whether this is the line of the v1 hierarchy that has `controller`.
    #[must_use]
    pub fn has_controller(&self, controller: &str) -> bool {
        self.controllers.split(|&b| b == b',').any(|name| name == controller.as_bytes())
    }

    /// Whether this is the line of the cgroup v2 hierarchy.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of<'a>(text: &'a [u8], wanted: impl Fn(&Membership<'a>) -> bool) -> Option<&'a [u8]> {
        Membership::parse_all(text).unwrap().map(Result::unwrap).find(|m| wanted(m)).map(|m| m.path)
    }

    #[test]
    fn v1_line_is_found_by_exact_controller_name() {
        let text = b"9:name=memory:/not\n4:memory,hugetlb:/docker/56f8\n3:memoryx:/nor\n0::/u\n";
        assert_eq!(path_of(text, |m| m.has_controller("memory")), Some(&b"/docker/56f8"[..]));
        assert_eq!(path_of(text, |m| m.has_controller("hugetlb")), Some(&b"/docker/56f8"[..]));
        assert_eq!(path_of(text, |m| m.is_v2()), Some(&b"/u"[..]));
    }

    #[test]
    fn memory_is_in_the_hierarchy_that_has_its_controller() {
        let of_memory =
            |text| Membership::parse_of_memory(text).map(|found| found.map(|own| (own.version(), own.path)));
        assert_eq!(of_memory(b"0::/u\n4:memory:/m\n"), Ok(Some((CgroupVersion::V1, &b"/m"[..]))));
        assert_eq!(of_memory(b"4:hugetlb:/m\n0::/u\n"), Ok(Some((CgroupVersion::V2, &b"/u"[..]))));
        assert_eq!(of_memory(b"4:hugetlb:/m\n"), Ok(None));
        assert_eq!(of_memory(b"garbage\n"), Err(ParseError::MalformedLine));
    }

    #[test]
    fn odd_names_are_kept_as_they_are() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"0::/a b:c\\n\n", b"/a b:c\\n"),
            (b"9:memory:/x.slice:cri-containerd:ee4b\n", b"/x.slice:cri-containerd:ee4b"),
            (b"0::/semstale (deleted)\n", b"/semstale (deleted)"),
            (b"0::/\xff\xfe\n", b"/\xff\xfe"),
        ];
        for (text, path) in cases {
            assert_eq!(
                Membership::parse_all(text).unwrap().next().map(Result::unwrap).map(|m| m.path),
                Some(path)
            );
        }
    }

    #[test]
    fn malformed_lines_are_errors() {
        for text in [&b"0:/x\n"[..], b"garbage\n", b"0::relative\n", b"0::\n"] {
            assert_eq!(Membership::parse_all(text).unwrap().next(), Some(Err(ParseError::MalformedLine)));
        }
    }
}
