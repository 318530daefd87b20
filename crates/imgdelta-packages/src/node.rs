//! Reads Node packages: the `package.json` of each package directory under a `node_modules`.
//! Never reads lock files: they list the wanted packages, not the installed ones.

use crate::{
    directories::NODE_MODULES,
    finding::DatabaseContent,
    package::{Ecosystem, Package, PackageFiles},
};
use imgdelta_core::path::LayerPath;

/// Returns the package directory if a path is its `package.json`.
///
/// A package directory is `…/node_modules/NAME` or `…/node_modules/@SCOPE/NAME`.
pub(crate) fn package_directory(path: &[u8]) -> Option<&[u8]> {
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

/// Reads name and version.
///
/// A `package.json` without them is valid, but not of a package: it may only select the module
/// system.
pub(crate) fn read(path: &LayerPath, payload: &[u8]) -> DatabaseContent {
    let manifest: PackageManifest = match serde_json::from_slice(payload.trim_ascii()) {
        Ok(manifest) => manifest,
        Err(error) => return DatabaseContent::broken(format!("not a package manifest: {error}")),
    };
    let (Some(ManifestField::Text(name)), Some(ManifestField::Text(version))) =
        (manifest.name, manifest.version)
    else {
        return DatabaseContent::Packages(Vec::new());
    };
    let files = PackageFiles::Under(path.parent().unwrap_or_else(LayerPath::root));
    DatabaseContent::Packages(vec![Package::new(Ecosystem::Node, name, version, files)])
}

#[derive(serde::Deserialize)]
struct PackageManifest {
    name: Option<ManifestField>,
    version: Option<ManifestField>,
}

/// A field that should be text; npm accepts other values, too.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum ManifestField {
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
        let files = PackageFiles::Under(LayerPath::parse(b"app/node_modules/@babel/core"));
        let package = Package::new(Ecosystem::Node, "@babel/core".into(), "7.28.0".into(), files);
        assert_eq!(read(&at, manifest), DatabaseContent::Packages(vec![package]));
        for cut in 0..manifest.len() {
            assert!(matches!(read(&at, &manifest[..cut]), DatabaseContent::Broken { .. }), "{cut}");
        }
    }

    #[test]
    fn manifests_without_a_package_are_valid() {
        let at = LayerPath::parse(b"app/node_modules/a/package.json");
        for manifest in ["{}", r#"{"type":"module"}"#, r#"{"name":"a","version":{"x":1}}"#] {
            assert_eq!(
                read(&at, manifest.as_bytes()),
                DatabaseContent::Packages(Vec::new()),
                "{manifest}"
            );
        }
        let deep = b"[".repeat(100_000);
        assert!(matches!(read(&at, &deep), DatabaseContent::Broken { .. }));
    }
}
