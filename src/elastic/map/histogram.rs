//! From buckets to the values that stand for them (agent-spec 10.6).

/// Buckets with something in them, as ascending values and counts. None without bounds, and without a measurement.
pub(crate) fn values(bounds: &[f64], counts: &[u64]) -> Option<(Vec<f64>, Vec<u64>)> {
    let (first, last) = (*bounds.first()?, *bounds.last()?);
    let value = |bucket: usize| match bucket {
        0 if first > 0.0 => first / 2.0,
        0 => first,
        bucket if bucket >= bounds.len() => last,
        bucket => {
            let (lower, upper) = (bounds[bucket - 1], bounds[bucket]);
            lower + (upper - lower) / 2.0
        }
    };
    let (mut values, mut sums) = (Vec::<f64>::new(), Vec::<u64>::new());
    for (bucket, count) in counts.iter().copied().enumerate().filter(|(_, count)| *count > 0) {
        let value = value(bucket);
        match sums.last_mut() {
            // the first and the last bucket of a single bound below 0 have one value
            Some(sum) if values.last() == Some(&value) => *sum = sum.saturating_add(count),
            _ => {
                values.push(value);
                sums.push(count);
            }
        }
    }
    let sound = !values.is_empty() && values.iter().all(|value| value.is_finite());
    sound.then_some((values, sums))
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: metrics-otel.md
    #[test]
    fn histogram_bucket_is_sent_as_its_middle() {
        let all = values(&[1.0, 3.0, 10.0], &[1, 2, 3, 4]);
        assert_eq!(all, Some((vec![0.5, 2.0, 6.5, 10.0], vec![1, 2, 3, 4])));
        assert_eq!(
            values(&[1.0, 3.0, 10.0], &[0, 2, 0, 4]),
            Some((vec![2.0, 10.0], vec![2, 4])),
            "empty ones are left out"
        );
        assert_eq!(
            values(&[0.0, 4.0], &[7, 1, 0]),
            Some((vec![0.0, 2.0], vec![7, 1])),
            "only a positive bound is halved"
        );
        assert_eq!(values(&[-4.0, -2.0], &[1, 1, 1]), Some((vec![-4.0, -3.0, -2.0], vec![1, 1, 1])));
    }

    // spec: metrics-otel.md, metrics.md
    #[test]
    fn histogram_values_ascend_and_match_the_counts() {
        assert_eq!(values(&[-2.0], &[3, 4]), Some((vec![-2.0], vec![7])), "one value, though two buckets");
        assert_eq!(values(&[2.0], &[3, 4]), Some((vec![1.0, 2.0], vec![3, 4])));
        assert_eq!(values(&[f64::MIN, f64::MAX], &[0, 1, 0]), None, "no middle can be told");
    }

    // spec: metrics-otel.md
    #[test]
    fn empty_histogram_is_not_sent() {
        assert_eq!(values(&[], &[]), None, "no bounds");
        assert_eq!(values(&[], &[3]), None);
        assert_eq!(values(&[1.0, 2.0], &[0, 0, 0]), None, "no measurement");
    }
}
