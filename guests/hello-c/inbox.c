#include "inbox.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../sdk/c/wcluster.h"

static int32_t inbox = -1;

/* Where message bodies go. It grows to the longest that ever came, because a message leaves the inbox only
 * into a buffer that holds it. */
static void *body;
static uint32_t body_cap;

bool inbox_open(void)
{
	errno = wcluster_inbox(&inbox);
	return errno == 0 && loop_watch(inbox, LOOP_READ, INBOX_TOKEN);
}

void inbox_want_room(bool want)
{
	loop_watch(inbox, want ? LOOP_READ | LOOP_WRITE : LOOP_READ, INBOX_TOKEN);
}

static void grow(uint32_t len)
{
	free(body);
	body = malloc(len);
	body_cap = len;
	if (body == NULL) {
		perror("inbox");
		exit(1);
	}
}

bool inbox_take(void)
{
	bool finish = false;
	for (;;) {
		wcluster_record record;
		wcluster_errno e = wcluster_receive(body, body_cap, &record);
		if (e == EMSGSIZE) {
			grow(record.len);
			continue;
		}
		if (e != 0) /* EAGAIN: it is empty */
			return finish;
		if (record.fd >= 0)
			close(record.fd);
		if (record.kind == WCLUSTER_RECORD_DISCONNECT)
			finish = true;
	}
}
