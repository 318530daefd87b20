//! Node packages: the `package.json` in each package directory under a `node_modules`.
//!
//! Lock files are not read: they tell what was wanted, not what is there.

use super::{Content, Ecosystem, Files, Package};
use imgdelta_core::path::LayerPath;

/// Returns the package directory whose `package.json` a path is: `…/node_modules/NAME` or
/// `…/node_modules/@SCOPE/NAME`.
pub(super) fn package_directory(path: &[u8]) -> Option<&[u8]> {
    let directory = path.strip_suffix(b"/package.json")?;
    let mut parts = directory.rsplit(|&byte| byte == b'/');
    let name = parts.next()?;
    let mut above = parts.next()?;
    if above.starts_with(b"@") {
        above = parts.next()?;
    }
    let is_package = above == NODE_MODULES && !name.starts_with(b"@") && !name.starts_with(b".");
    is_package.then_some(directory)
}

/// The directory that holds packages. A package's files never reach over the next one.
pub(super) const NODE_MODULES: &[u8] = b"node_modules";

/// Reads name and version. A `package.json` without them is none of a package (it may only
/// switch the module system), and no fault.
pub(super) fn read(path: &LayerPath, payload: &[u8]) -> Content {
    let manifest: Manifest = match serde_json::from_slice(payload.trim_ascii()) {
        Ok(manifest) => manifest,
        Err(error) => return Content::broken(format!("it is no package manifest: {error}")),
    };
    let (Some(Field::Text(name)), Some(Field::Text(version))) = (manifest.name, manifest.version)
    else {
        return Content::Packages(Vec::new());
    };
    let files = Files::Under(path.parent().unwrap_or_else(LayerPath::root));
    Content::Packages(vec![Package::new(Ecosystem::Node, name, version, files)])
}

#[derive(serde::Deserialize)]
struct Manifest {
    name: Option<Field>,
    version: Option<Field>,
}

/// A field that should be text; npm tolerates other things, and so do we.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Field {
    Text(String),
    Other(serde::de::IgnoredAny),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_give_name_and_version() {
        let at = LayerPath::parse(b"app/node_modules/@babel/core/package.json");
        let manifest = br#"{"name": "@babel/core", "version": "7.28.0", "bin": {"x": [1, null]}}"#;
        let files = Files::Under(LayerPath::parse(b"app/node_modules/@babel/core"));
        let package = Package::new(Ecosystem::Node, "@babel/core".into(), "7.28.0".into(), files);
        assert_eq!(read(&at, manifest), Content::Packages(vec![package]));
        for cut in 0..manifest.len() {
            assert!(matches!(read(&at, &manifest[..cut]), Content::Broken { .. }), "{cut}");
        }
    }

    #[test]
    fn manifests_of_no_package_are_no_fault() {
        let at = LayerPath::parse(b"app/node_modules/a/package.json");
        for manifest in ["{}", r#"{"type":"module"}"#, r#"{"name":"a","version":{"x":1}}"#] {
            assert_eq!(read(&at, manifest.as_bytes()), Content::Packages(Vec::new()), "{manifest}");
        }
        let deep = b"[".repeat(100_000);
        assert!(matches!(read(&at, &deep), Content::Broken { .. }));
    }
}
