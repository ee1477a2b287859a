/* SPDX-License-Identifier: GPL-2.0 */
/* What fuzz.c and fuzz_packets.c share: numbers by a seed, and a message under way. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE 8192

static uint64_t state;

static inline void seed(const char *text)
{
	/* Zero would give zeros for ever. */
	state = strtoull(text, NULL, 0) * 2 + 1;
}

static inline uint32_t rnd(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545f4914f6cdd1dULL) >> 32;
}

static inline uint32_t below(uint32_t limit)
{
	return rnd() % limit;
}

static inline bool one_in(uint32_t n)
{
	return below(n) == 0;
}

#define pick(pool) ((pool)[below(sizeof(pool) / sizeof((pool)[0]))])

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

static unsigned char message[SPACE];
static size_t length;

static inline void put(const void *data, size_t len)
{
	if (length + len + 8 > SPACE)
		return;
	memcpy(message + length, data, len);
	length += len;
	while (length % 4)
		message[length++] = 0;
}
