//! What the codes of one provider mean. They are numbers, and words that other providers use in another
//! meaning. A code counts only if the host or the shape of the body identifies its provider.

use super::super::{
    provider::Provider,
    signal::{BUSY, KEY, LIMIT, PLAN, QUOTA, SHORTEST, Signal},
    types::{Dimension, Scope, Window},
};

/// A limit of Cloudflare's daily neurons.
const NEURONS: Signal = LIMIT
    .counts(Dimension::Neurons)
    .per(Window::Day)
    .of(Scope::Account)
    .model_helps(false);

#[rustfmt::skip]
static CODES: &[(Provider, &[(&str, Signal)])] = &[
    // docs.bigmodel.cn api-code, docs.z.ai api-code
    (Provider::Zai, &[
        ("1112", KEY.of(Scope::Account)),
        ("1113", QUOTA.of(Scope::Account)),
        ("1121", KEY.of(Scope::Account)),
        ("1220", KEY.of(Scope::Request)),
        ("1302", LIMIT.counts(Dimension::Concurrency)),
        ("1303", LIMIT.counts(Dimension::Requests)),
        ("1304", LIMIT.counts(Dimension::Requests).per(Window::Day)),
        ("1305", BUSY.of(Scope::Model)),
        ("1308", PLAN.per(SHORTEST)),
        ("1309", QUOTA.of(Scope::Account)),
        ("1310", PLAN.per(Window::Week)),
        // The subscription does not contain the model.
        ("1311", QUOTA.of(Scope::AccountModel)),
        ("1312", BUSY.of(Scope::Model)),
        ("1313", LIMIT.of(Scope::Account).model_helps(false)),
    ]),
    // platform.minimax.io errorcode; GoModel#640
    (Provider::MiniMax, &[
        ("1002", LIMIT.counts(Dimension::Requests).per(Window::Minute)),
        ("1004", KEY.of(Scope::Key)),
        ("1008", QUOTA.of(Scope::Account)),
        ("1039", LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
        ("1041", LIMIT.counts(Dimension::Concurrency)),
        ("2045", LIMIT.counts(Dimension::Requests)),
        ("2049", KEY.of(Scope::Key)),
        ("2056", PLAN.per(SHORTEST)),
    ]),
    // Qianfan: cloud.baidu.com WENXINWORKSHOP tlmyncueh
    (Provider::Baidu, &[
        // The cluster's limit, not the caller's.
        ("4", LIMIT.counts(Dimension::Requests).of(Scope::Platform)),
        ("17", LIMIT.counts(Dimension::Requests).per(Window::Day).of(Scope::Account)),
        ("18", LIMIT.counts(Dimension::Requests).per(Window::Second)),
        ("19", QUOTA.of(Scope::Account)),
        ("110", KEY.of(Scope::Key)),
        ("111", KEY.of(Scope::Key)),
        ("336501", LIMIT.counts(Dimension::Requests).per(Window::Minute)),
        ("336502", LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
    ]),
    // developers.cloudflare.com; neurons as documented and as seen
    (Provider::Cloudflare, &[
        ("10000", KEY.of(Scope::Key)),
        ("3023", KEY.of(Scope::Account)),
        ("3040", BUSY.of(Scope::Model)),
        ("3036", NEURONS),
        ("4006", NEURONS),
    ]),
    // OpenAI's word for billing is DashScope's for tokens per minute (help.aliyun.com model-studio
    // error-code, rate-limit; oh-my-pi#8476).
    (Provider::DashScope, &[("insufficient_quota", LIMIT)]),
    // Capacity belongs to a service tier, and another account may have a higher one.
    (Provider::Mistral, &[
        ("1300", LIMIT),
        ("3505", BUSY.of(Scope::Model).key_helps(true)),
    ]),
];

/// What a code of DashScope limits if its message names nothing.
#[rustfmt::skip]
static USUAL_LIMITS: &[(Dimension, &[&str])] = &[
    (Dimension::Tokens, &["throttling_allocationquota", "insufficient_quota"]),
    (Dimension::Requests, &[
        "throttling_ratequota", "limit_requests", "throttling_burstrate", "limit_burst_rate",
    ]),
];

/// Returns what a code means at one provider; `None` if the code has no meaning of its own there.
pub(crate) fn signal(provider: Provider, code: &str) -> Option<Signal> {
    let (_, codes) = CODES.iter().find(|(it, _)| *it == provider)?;
    let (_, signal) = codes.iter().find(|(name, _)| *name == code)?;
    Some(*signal)
}

/// Returns the limit per minute that a code means if nothing else names it.
pub(crate) fn usual_limit(code: &str) -> Option<Dimension> {
    let (dimension, _) = USUAL_LIMITS
        .iter()
        .find(|(_, codes)| codes.contains(&code))?;
    Some(*dimension)
}

#[cfg(test)]
mod tests {
    use super::{super::super::parse::code::normal, *};

    #[test]
    fn every_code_is_in_normal_form_and_unique_for_its_provider() {
        for (_, codes) in CODES {
            for (at, (code, _)) in codes.iter().enumerate() {
                assert_eq!(normal(code).as_deref(), Some(*code));
                let first = codes.iter().position(|(other, _)| other == code);
                assert_eq!(first, Some(at), "{code}");
            }
        }
    }

    #[test]
    fn code_means_nothing_at_another_provider() {
        assert!(signal(Provider::MiniMax, "1002").is_some());
        for provider in [Provider::Generic, Provider::OpenAi, Provider::Zai] {
            assert_eq!(signal(provider, "1002"), None);
        }
    }
}
