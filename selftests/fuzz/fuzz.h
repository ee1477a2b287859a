/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by fuzz.c and fuzz_packets.c: numbers by a seed, and a message under way. */

#ifndef _FUZZ_H
#define _FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE 8192

extern unsigned char message[SPACE];
extern size_t length;

void seed(const char *text);
uint32_t rnd(void);

static inline uint32_t below(uint32_t limit)
{
	return rnd() % limit;
}

static inline bool one_in(uint32_t n)
{
	return below(n) == 0;
}

#define pick(pool) ((pool)[below(sizeof(pool) / sizeof((pool)[0]))])

void die(const char *what);

/* Adds to the message, padded; what there is no room for is left out. */
void put(const void *data, size_t len);

#endif /* _FUZZ_H */
