/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram -- counts durations so that any quantile can be read afterwards, with at most one part in 64 of error.
 *
 * Each power of two of nanoseconds is cut into 64 equal buckets (as HdrHistogram does); below 64 ns they are exact.
 *
 * Owns:   nothing but its own counters.
 * Never:  allocates, loses a value: what is over HISTOGRAM_MAX_NS counts as that.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_PARTS 64
#define HISTOGRAM_POWERS 36 /* 2^41 ns are 36 minutes */
#define HISTOGRAM_MAX_NS ((UINT64_C(1) << 41) - 1)

struct histogram {
	uint64_t counts[HISTOGRAM_POWERS * HISTOGRAM_PARTS];
	uint64_t total;
	uint64_t largest_ns;
};

/* A histogram of zeros is an empty one. */
void histogram_add(struct histogram *histogram, uint64_t ns);

/* The least value that at least per_mille of a thousand of all values do not exceed, rounded up to the end of its
 * bucket, and never more than the largest value; 0 while there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, unsigned int per_mille);

#endif
