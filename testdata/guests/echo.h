/* echo.h — sends a message back to the master with "echo:" before it, and waits for room if there is none. */
#ifndef ECHO_H
#define ECHO_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../guests/sdk/c/wcluster.h"

#define ECHO_PREFIX "echo:"
#define ECHO_PREFIX_LEN (sizeof ECHO_PREFIX - 1)

static void fail(const char *what, wcluster_errno e)
{
	errno = e;
	perror(what);
	exit(1);
}

static void wait_for(int32_t inbox, uint32_t interest)
{
	wcluster_event event;
	uint32_t n;
	wcluster_errno e = wcluster_watch(inbox, interest, 0);
	if (e == 0)
		e = wcluster_wait(&event, 1, -1, &n);
	if (e != 0)
		fail("wait", e);
}

static void echo(int32_t inbox, const void *data, uint32_t len)
{
	char *answer = malloc(ECHO_PREFIX_LEN + len);
	wcluster_errno e;
	if (answer == NULL)
		fail("echo", ENOMEM);
	memcpy(answer, ECHO_PREFIX, ECHO_PREFIX_LEN);
	memcpy(answer + ECHO_PREFIX_LEN, data, len);
	while ((e = wcluster_send(0, answer, ECHO_PREFIX_LEN + len, -1)) == EAGAIN)
		wait_for(inbox, WCLUSTER_WRITE);
	free(answer);
	if (e != 0)
		fail("send", e);
}

#endif
