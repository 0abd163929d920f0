//! Numbers that mean something at one provider only.

use super::{check, read, short};

#[test]
fn number_means_a_limit_at_its_own_host() {
    check(&[
        (
            "api.z.ai",
            429,
            r#"{"error":{"code":"1113","message":"No."}}"#,
            "QuotaExhausted of Account +key",
        ),
        (
            "open.bigmodel.cn",
            429,
            r#"{"error":{"code":"1302","message":"您当前使用该API的并发数过高，请降低并发"}}"#,
            "RateLimited Concurrency +time +key +model",
        ),
        (
            "open.bigmodel.cn",
            429,
            r#"{"error":{"code":1303,"message":"No."}}"#,
            "RateLimited Requests +time +key +model",
        ),
        (
            "open.bigmodel.cn",
            429,
            r#"{"error":{"code":"1305","message":"No."}}"#,
            "Overloaded of Model +time +model",
        ),
        (
            "api.z.ai",
            429,
            r#"{"error":{"code":"1308","message":"No."}}"#,
            "RateLimited FiveHours of Account +key",
        ),
        (
            "api.z.ai",
            429,
            r#"{"error":{"code":"1310","message":"No."}}"#,
            "RateLimited Week of Account +key",
        ),
        (
            "api.mistral.ai",
            429,
            r#"{"message":"No.","code":"3505"}"#,
            "Overloaded of Model +time +key +model",
        ),
    ]);
}

#[test]
fn sentence_says_the_same_without_its_number() {
    check(&[
        (
            "proxy.example",
            429,
            r#"{"error":{"message":"余额不足或无可用资源包,请充值。"}}"#,
            "QuotaExhausted of Account +key",
        ),
        (
            "proxy.example",
            429,
            r#"{"error":{"message":"Insufficient balance or no resource package. Please recharge."}}"#,
            "QuotaExhausted of Account +key",
        ),
        (
            "proxy.example",
            429,
            r#"{"error":{"message":"您的账户已欠费,请充值后重试"}}"#,
            "QuotaExhausted of Account +key",
        ),
        (
            "proxy.example",
            429,
            r#"{"error":{"message":"High concurrency usage of this API, please reduce concurrency"}}"#,
            "RateLimited Concurrency +time +key +model",
        ),
        (
            "proxy.example",
            429,
            r#"{"error":{"message":"该模型当前访问量过大，请您稍后再试"}}"#,
            "Overloaded of Model +time +model",
        ),
        (
            "proxy.example",
            429,
            r#"{"error":{"message":"您的账户已达到速率限制，请您控制请求频率"}}"#,
            "RateLimited +time +key +model",
        ),
    ]);
}

#[test]
fn number_of_another_provider_means_nothing() {
    for host in ["api.openai.com", "api.groq.com", "proxy.example"] {
        for code in [
            "1002", "1008", "1039", "1113", "1302", "1305", "1308", "1310", "2056", "3505", "18",
            "336501",
        ] {
            let body = format!(
                r#"{{"error":{{"message":"No.","type":"x","param":null,"code":"{code}"}}}}"#
            );
            let plain = r#"{"error":{"message":"No.","type":"x","param":null}}"#;
            assert_eq!(
                read(host, 429, &body),
                read(host, 429, plain),
                "{host} {code}"
            );
            assert_eq!(read(host, 200, &body), None, "{host} {code}");
        }
    }
    // At its own host, a code is not looked for in a success of another shape.
    let choice = r#"{"id":"1","choices":[{"code":"1113"}],"code":"1113"}"#;
    assert_eq!(short(read("api.z.ai", 200, choice).as_ref()), "none");
}
