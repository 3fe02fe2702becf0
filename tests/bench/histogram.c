/* SPDX-License-Identifier: Apache-2.0 */
/* histogram -- buckets of equal width inside each power of two. */
#include "histogram.h"

#include <stddef.h>

#define PARTS_LOG2 6

/* Values below 64 have a bucket each; 64..127 fill the second row, one value each; 128..255 the third, two each; ... */
static size_t bucket_of(uint64_t ns)
{
	if (ns < HISTOGRAM_PARTS)
		return (size_t)ns;
	const unsigned int power = 63 - (unsigned int)__builtin_clzll(ns);
	const unsigned int shift = power - PARTS_LOG2;
	return (size_t)(shift + 1) * HISTOGRAM_PARTS + (size_t)((ns >> shift) - HISTOGRAM_PARTS);
}

static uint64_t bucket_end(size_t bucket)
{
	if (bucket < HISTOGRAM_PARTS)
		return bucket;
	const unsigned int shift = (unsigned int)(bucket / HISTOGRAM_PARTS) - 1;
	const uint64_t part = bucket % HISTOGRAM_PARTS + HISTOGRAM_PARTS;
	return ((part + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
	const uint64_t bounded = ns < HISTOGRAM_MAX_NS ? ns : HISTOGRAM_MAX_NS;
	histogram->counts[bucket_of(bounded)]++;
	histogram->total++;
	if (bounded > histogram->largest_ns)
		histogram->largest_ns = bounded;
}

uint64_t histogram_quantile(const struct histogram *histogram, unsigned int per_mille)
{
	const uint64_t wanted = (histogram->total * per_mille + 999) / 1000;
	uint64_t seen = 0;
	for (size_t i = 0; i < HISTOGRAM_POWERS * HISTOGRAM_PARTS; i++) {
		seen += histogram->counts[i];
		if (seen > 0 && seen >= wanted) {
			const uint64_t end = bucket_end(i);
			return end < histogram->largest_ns ? end : histogram->largest_ns;
		}
	}
	return histogram->largest_ns;
}
