//! What the codes of one provider mean. A number or a word that others use otherwise counts only for
//! the provider whose it is: by the host, or by the shape that the code stands in.

use super::{
    Dimension, Provider, Scope, Window,
    meaning::{BUSY, KEY, LIMIT, Meaning, QUOTA},
    plan::{PLAN, SHORTEST},
};

/// Z.ai and BigModel (docs.bigmodel.cn api-code, docs.z.ai api-code).
#[rustfmt::skip]
static ZAI: &[(&str, Meaning)] = &[
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
];

/// MiniMax (platform.minimax.io errorcode; GoModel#640).
#[rustfmt::skip]
static MINIMAX: &[(&str, Meaning)] = &[
    ("1002", LIMIT.counts(Dimension::Requests).per(Window::Minute)),
    ("1004", KEY.of(Scope::Key)),
    ("1008", QUOTA.of(Scope::Account)),
    ("1039", LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
    ("1041", LIMIT.counts(Dimension::Concurrency)),
    ("2045", LIMIT.counts(Dimension::Requests)),
    ("2049", KEY.of(Scope::Key)),
    ("2056", PLAN.per(SHORTEST)),
];

/// Baidu Qianfan (cloud.baidu.com WENXINWORKSHOP tlmyncueh).
#[rustfmt::skip]
static BAIDU: &[(&str, Meaning)] = &[
    // The cluster's limit, not the caller's.
    ("4", LIMIT.counts(Dimension::Requests).of(Scope::Platform)),
    ("17", LIMIT.counts(Dimension::Requests).per(Window::Day).of(Scope::Account)),
    ("18", LIMIT.counts(Dimension::Requests).per(Window::Second)),
    ("19", QUOTA.of(Scope::Account)),
    ("110", KEY.of(Scope::Key)),
    ("111", KEY.of(Scope::Key)),
    ("336501", LIMIT.counts(Dimension::Requests).per(Window::Minute)),
    ("336502", LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
];

/// DashScope (help.aliyun.com model-studio error-code, rate-limit; oh-my-pi#8476): OpenAI's word for
/// billing is its own for tokens per minute.
static DASHSCOPE: &[(&str, Meaning)] = &[("insufficient_quota", LIMIT)];

/// Mistral; capacity belongs to a service tier, and another account may have a higher one.
static MISTRAL: &[(&str, Meaning)] = &[
    ("1300", LIMIT),
    ("3505", BUSY.of(Scope::Model).key_helps(true)),
];

/// What a code of DashScope limits where its message names nothing.
#[rustfmt::skip]
static USUAL_LIMITS: &[(&str, Dimension)] = &[
    ("throttling_allocationquota", Dimension::Tokens),
    ("insufficient_quota", Dimension::Tokens),
    ("throttling_ratequota", Dimension::Requests),
    ("limit_requests", Dimension::Requests),
    ("throttling_burstrate", Dimension::Requests),
    ("limit_burst_rate", Dimension::Requests),
];

/// What a code means at one provider; `None` if it means what it means everywhere, or nothing.
pub(super) fn meaning(provider: Provider, code: &str) -> Option<Meaning> {
    let codes = match provider {
        Provider::Zai => ZAI,
        Provider::MiniMax => MINIMAX,
        Provider::Baidu => BAIDU,
        Provider::DashScope => DASHSCOPE,
        Provider::Mistral => MISTRAL,
        _ => return None,
    };
    let (_, meaning) = codes.iter().find(|(name, _)| *name == code)?;
    Some(*meaning)
}

/// The limit per minute that a code means if nothing else names it.
pub(super) fn usual_limit(code: &str) -> Option<Dimension> {
    let (_, dimension) = USUAL_LIMITS.iter().find(|(name, _)| *name == code)?;
    Some(*dimension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::codes::normal;

    #[test]
    fn every_code_is_in_normal_form_and_stands_once_at_its_provider() {
        for codes in [ZAI, MINIMAX, BAIDU, DASHSCOPE, MISTRAL] {
            for (at, (code, _)) in codes.iter().enumerate() {
                assert_eq!(normal(code).as_deref(), Some(*code));
                let first = codes.iter().position(|(other, _)| other == code);
                assert_eq!(first, Some(at), "{code}");
            }
        }
    }

    #[test]
    fn code_means_nothing_at_another_provider() {
        assert!(meaning(Provider::MiniMax, "1002").is_some());
        for provider in [Provider::Generic, Provider::OpenAi, Provider::Zai] {
            assert_eq!(meaning(provider, "1002"), None);
        }
    }
}
