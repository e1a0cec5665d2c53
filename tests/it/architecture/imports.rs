//! Which source file depends on which, by what each imports and names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::slice;
use syn::visit::{self, Visit};

/// Where the source of each crate begins, and what others call the crate.
const CRATES: [(&str, &str); 2] = [("src", "cgprocfs"), ("core/src", "cgprocfs_core")];

/// A path of Rust from the root of a crate: `["src", "kernel", "Source"]`, `["core/src", "units"]`.
type RustPath = Vec<String>;

/// A source file.
struct File {
    /// Relative to the repository.
    path: String,
    names: Names,
}

/// The files of both crates, without what is compiled for tests only.
pub struct Imports {
    /// By the path of the module that each is.
    modules: BTreeMap<RustPath, File>,
}

impl Imports {
    /// Reads the source below the root of the repository.
    pub fn read(root: &Path) -> Self {
        Self::of(sources(root))
    }

    /// Parses files that are given by path and text.
    pub fn of(sources: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut modules = BTreeMap::new();
        let mut of_tests = Vec::new();
        for (path, text) in sources {
            let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
            let module = module_of(&path);
            let mut names = Names::default();
            names.visit_file(&syntax);
            let tests = names.test_modules.iter().map(|name| [&module[..], slice::from_ref(name)].concat());
            of_tests.extend(tests);
            modules.insert(module, File { path, names });
        }
        modules.retain(|module, _| !of_tests.iter().any(|tests| module.starts_with(tests)));
        Self { modules }
    }

    /// The files that each file depends on.
    pub fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let targets = |(module, file): (&RustPath, &'_ File)| {
            let named = file.names.named.iter();
            let targets =
                named.filter_map(|path| self.resolve(module, path)).map(|path| self.defined_in(path));
            targets.filter(|target| **target != file.path).collect()
        };
        self.modules.iter().map(|entry| (&*entry.1.path, targets(entry))).collect()
    }

    /// The path from the root of a crate that `path` means in `module`; `None` where it leads out of both
    /// crates.
    fn resolve(&self, module: &RustPath, path: &[String]) -> Option<RustPath> {
        let (first, rest) = path.split_first()?;
        let start = match &**first {
            "crate" => vec![module[0].clone()],
            "self" => module.clone(),
            "super" => {
                let up = path.iter().take_while(|name| *name == "super").count();
                let parent = module[..module.len().saturating_sub(up).max(1)].to_vec();
                return Some([parent, path[up..].to_vec()].concat());
            }
            name => {
                if let Some((root, _)) = CRATES.iter().find(|(_, krate)| *krate == name) {
                    vec![(*root).to_string()]
                } else if let Some(imported) = self.modules[module].names.imported.get(name) {
                    // `use log;` would lead to itself.
                    (imported.first() != Some(first)).then(|| self.resolve(module, imported)).flatten()?
                } else {
                    let child = [&module[..], slice::from_ref(first)].concat();
                    self.modules.contains_key(&child).then_some(child)?
                }
            }
        };
        Some([start, rest.to_vec()].concat())
    }

    /// The file that has what a path names, through all re-exports.
    fn defined_in(&self, mut path: RustPath) -> &str {
        for _ in 0..10 {
            let known = (1..=path.len()).rev().find(|&length| self.modules.contains_key(&path[..length]));
            let (module, rest) = path.split_at(known.unwrap_or_else(|| panic!("{path:?}")));
            let module = module.to_vec();
            let exported = rest.first().and_then(|name| self.modules[&module].names.imported.get(name));
            match exported.and_then(|exported| self.resolve(&module, exported)) {
                Some(target) => path = [target, rest[1..].to_vec()].concat(),
                None => return &self.modules[&module].path,
            }
        }
        panic!("{path:?} is exported in a circle");
    }
}

/// The path and the text of every source file of both crates.
pub fn sources(root: &Path) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut directories: Vec<_> = CRATES.iter().map(|(directory, _)| root.join(directory)).collect();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
                sources.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    sources.sort();
    sources
}

/// `src/kernel/source.rs` is the module `["src", "kernel", "source"]`.
fn module_of(file: &str) -> RustPath {
    let (root, _) = CRATES.iter().find(|(root, _)| file.starts_with(&format!("{root}/"))).unwrap();
    let below = file[root.len() + 1..].trim_end_matches(".rs");
    let names = if below == "lib" { vec![] } else { below.split('/').collect() };
    [*root].into_iter().chain(names).map(str::to_string).collect()
}

/// What a file says of others.
#[derive(Default)]
struct Names {
    /// Every path in it of two names or more, and every path that it imports.
    named: Vec<RustPath>,
    /// What its `use` declarations give a name to.
    imported: BTreeMap<String, RustPath>,
    /// Modules that are there in tests only.
    test_modules: Vec<String>,
}

impl Names {
    fn import(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        let (name, path) = match tree {
            syn::UseTree::Path(path) => return self.import(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(prefix, tree));
            }
            syn::UseTree::Glob(_) => (None, prefix.to_vec()),
            // `use x::{self}` imports `x`.
            syn::UseTree::Name(name) if name.ident == "self" => (prefix.last().cloned(), prefix.to_vec()),
            syn::UseTree::Name(name) => (Some(name.ident.to_string()), with(&name.ident)),
            syn::UseTree::Rename(rename) => (Some(rename.rename.to_string()), with(&rename.ident)),
        };
        self.named.push(path.clone());
        if let Some(name) = name {
            self.imported.insert(name, path);
        }
    }

    /// Paths within tokens that nobody parses: the arguments of a macro or an attribute.
    fn tokens(&mut self, tokens: &str) {
        let joined = tokens.replace(" ::", "::").replace(":: ", "::");
        let words = joined.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        let paths = words.filter(|word| word.contains("::"));
        self.named.extend(paths.map(|path| path.trim_matches(':').split("::").map(str::to_string).collect()));
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            let words: Vec<&str> = condition.split(|c: char| !c.is_alphanumeric()).collect();
            words.contains(&"test") && !words.contains(&"not")
        }
        _ => false,
    })
}

impl Visit<'_> for Names {
    fn visit_item(&mut self, item: &syn::Item) {
        let attributes = match item {
            syn::Item::Mod(module) => {
                if module.content.is_none() && is_for_tests(&module.attrs) {
                    self.test_modules.push(module.ident.to_string());
                }
                &module.attrs
            }
            syn::Item::Fn(function) => &function.attrs,
            syn::Item::Impl(block) => &block.attrs,
            syn::Item::Use(import) => &import.attrs,
            syn::Item::Const(constant) => &constant.attrs,
            _ => &vec![],
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, import: &syn::ItemUse) {
        self.import(&[], &import.tree);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        if path.segments.len() > 1 {
            self.named.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.tokens(&call.tokens.to_string());
    }

    fn visit_attribute(&mut self, attribute: &syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(&list.tokens.to_string());
        }
    }

    /// `pub(in crate::x)` says who may look in, not what is used.
    fn visit_vis_restricted(&mut self, _: &syn::VisRestricted) {}
}
