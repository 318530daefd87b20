//! Names of platforms, and which platform runs which image.

use imgdelta_image::image::Platform;

#[test]
fn aliases_are_one_platform() {
    let same = |a: &str, b: &str| {
        assert_eq!(a.parse::<Platform>().unwrap(), b.parse::<Platform>().unwrap(), "{a} {b}");
    };
    same("linux/x86_64", "linux/amd64");
    same("linux/arm64/v8", "linux/arm64");
    same("Linux/aarch64", "linux/arm64");
    same("linux/arm", "linux/arm/v7");
    same("linux/armel", "linux/arm/v6");
    same("linux/i686", "linux/386");
    assert!("linux".parse::<Platform>().is_err());
    assert!("linux/arm/v7/x".parse::<Platform>().is_err());
    assert!("linux/".parse::<Platform>().is_err());
}

#[test]
fn the_host_has_gos_name_of_its_processor() {
    let expected = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    assert_eq!(Platform::host().architecture, expected);
    assert_eq!(Platform::host().os, "linux");
}

#[test]
fn an_older_variant_runs_and_the_newest_of_them_is_nearest() {
    let distance = |wanted: &str, offered: &str| {
        wanted.parse::<Platform>().unwrap().distance(&offered.parse().unwrap())
    };
    assert_eq!(distance("linux/arm/v7", "linux/arm/v7"), Some(0));
    assert!(distance("linux/arm/v7", "linux/arm/v6") < distance("linux/arm/v7", "linux/arm/v5"));
    assert_eq!(distance("linux/arm/v6", "linux/arm/v7"), None);
    assert_eq!(distance("linux/amd64/v3", "linux/amd64"), Some(200));
    assert_eq!(distance("linux/amd64", "linux/amd64/v3"), None);
    assert_eq!(distance("linux/arm64/v8.2", "linux/arm64"), Some(2));
    assert_eq!(distance("linux/arm64", "linux/arm/v7"), None);
    assert_eq!(distance("linux/amd64", "windows/amd64"), None);
    assert_eq!(distance("linux/x/odd", "linux/x/odd"), Some(0));
}
