use super::*;

fn went(target: Target, uri: &str) -> String {
    let uri = target.uri(&uri.parse().unwrap()).unwrap();
    target.with_parameters(uri).unwrap().to_string()
}

#[test]
fn parameters_replace_those_of_the_same_name() {
    let target = Target::model("m")
        .query("api-version", "1")
        .query("a b", "c");
    let target = target.query("api-version", "2024-10-21");
    let request = "https://a.example/chat?API-version=0&api-version=1&api%2Dversion=2";
    assert_eq!(
        went(target, request),
        "https://a.example/chat?API-version=0&a%20b=c&api-version=2024-10-21"
    );
}

#[test]
fn last_call_decides_whether_a_header_is_set_or_removed() {
    let name = HeaderName::from_static("anthropic-beta");
    let value = HeaderValue::from_static("new");
    let headers = || HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("old"))]);
    let set = Target::model("m").without_header(name.clone());
    let set = set.header(name.clone(), value.clone());
    let mut changed = headers();
    set.change(&mut changed);
    assert_eq!(changed[&name], "new");
    let removes = Target::model("m").header(name.clone(), value);
    let removes = removes.without_header(name.clone());
    let mut changed = headers();
    removes.change(&mut changed);
    assert!(changed.is_empty());
    assert!(removes.changes(&headers()) && !removes.changes(&HeaderMap::new()));
}

#[test]
fn path_of_the_request_is_appended_to_the_address() {
    let at = |address| Target::model("m").at(address).unwrap();
    let request = "https://a.example/v1/chat?alt=sse";
    let table = [
        (at("https://b.example"), "https://b.example/v1/chat?alt=sse"),
        (
            at("https://b.example/"),
            "https://b.example/v1/chat?alt=sse",
        ),
        (
            at("https://b.example/x/"),
            "https://b.example/x/v1/chat?alt=sse",
        ),
        (
            at("http://b.example:81/x").strip_prefix("/v1"),
            "http://b.example:81/x/chat?alt=sse",
        ),
        (
            at("https://b.example/x").strip_prefix("/v1/"),
            "https://b.example/x/chat?alt=sse",
        ),
        (
            at("https://b.example/x").strip_prefix("/v"),
            "https://b.example/x/v1/chat?alt=sse",
        ),
        (Target::model("m"), request),
    ];
    for (target, expected) in table {
        assert_eq!(went(target, request), expected);
    }
    assert_eq!(
        went(at("https://b.example").strip_prefix("/v1"), "/v1"),
        "https://b.example/"
    );
}

#[test]
fn address_is_absolute_and_has_neither_user_nor_query() {
    for address in [
        "",
        "/v1",
        "b.example",
        "https://",
        "https://me:pw@b.example",
        "https://b.example?key=1",
        "https://b.example#x",
        "https://b.example:99999/x",
        "https://b.example:/x",
        "not a uri",
    ] {
        assert_eq!(
            Target::same_model_at(address),
            Err(TargetError::InvalidAddress),
            "{address}"
        );
    }
}

#[test]
fn target_shows_neither_its_headers_nor_its_path() {
    let target = Target::model("m")
        .at("https://b.example/tenant-7")
        .unwrap()
        .header(
            http::header::AUTHORIZATION,
            HeaderValue::from_static("Bearer secret"),
        );
    let shown = format!("{target:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("tenant"),
        "{shown}"
    );
}
