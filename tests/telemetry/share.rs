//! What is logged and counted of an engine.

use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::sleep;
use tower::{Layer as _, ServiceExt};
use tower_429::{
    KeyPool, KeyRotationLayer,
    share::{InMemory, Name, share},
};

use crate::{notices::Warnings, script::*};

#[tokio::test(start_paused = true)]
async fn engine_that_goes_away_is_a_line_at_each_change_and_metrics() {
    let (warnings, _guard) = Warnings::collect();
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let engine = InMemory::new();
    let (sharing, driver) = share(engine.clone(), Name::new("prod"));
    let pool = KeyPool::builder(["a"]).for_origin("https://api.example");
    let pool = pool.shared(sharing.clone()).build().unwrap();
    let driver = tokio::spawn(driver);
    sharing.ready().await;
    // The layer is dropped here, because it keeps the pool.
    let service = KeyRotationLayer::new(pool)
        .wait_when_exhausted(secs(1))
        .layer(Provider::script([ok(), ok()]));
    service.clone().oneshot(chat("m")).await.unwrap();
    service.oneshot(chat("m")).await.unwrap();
    let connected = |connected: u8| {
        let line = format!(r#"tower_429_share_connected{{share="prod"}} {connected}"#);
        recorder.handle().render().lines().any(|it| it == line)
    };
    for _ in 0..2 {
        assert!(connected(1), "{}", recorder.handle().render());
        assert!(warnings.take().is_empty());
        engine.set_down(true);
        sleep(secs(10)).await;
        let away = "engine is away, each process takes its part of the limits share=\"prod\" \
                    error=\"it did not respond in time\"";
        assert_eq!(warnings.take(), [away]);
        assert!(connected(0));
        engine.set_down(false);
        sleep(secs(2)).await;
    }
    drop(sharing);
    driver.await.unwrap();
    assert!(
        warnings.take().is_empty(),
        "a process that ends is no matter"
    );
    let text = recorder.handle().render();
    for metric in [
        r#"share_exchanges_total{share="prod",outcome="failed"}"#,
        r#"share_granted_total{share="prod",unit="requests"}"#,
        r#"share_expiries_total{share="prod"} 2"#,
    ] {
        assert!(text.contains(metric), "{metric}\n{text}");
    }
}
