// SPDX-License-Identifier: GPL-2.0
/* Numbers by a seed, and a message under way. */

#include "fuzz.h"

unsigned char message[SPACE];
size_t length;

static uint64_t state;

void seed(const char *text)
{
	/* Zero would give zeros for ever. */
	state = strtoull(text, NULL, 0) * 2 + 1;
}

uint32_t rnd(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545f4914f6cdd1dULL) >> 32;
}

void die(const char *what)
{
	perror(what);
	exit(1);
}

void put(const void *data, size_t len)
{
	if (length + len + 8 > SPACE)
		return;
	memcpy(message + length, data, len);
	length += len;
	while (length % 4)
		message[length++] = 0;
}
