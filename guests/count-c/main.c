/* count — the hello server, and every request is counted by the master: it is sent a message for each.
 *
 * The master's half of the example keeps the sum: "numReqs = …". The server is hello-c's, compiled with three
 * hooks.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "../hello-c/inbox.h"
#include "../hello-c/serve.h"
#include "../sdk/c/wcluster.h"

static const char message[] = "{\"cmd\":\"notifyRequest\"}";

/* Requests that the master has not been told of. The outbox is bounded, so a count may have to wait; it waits
 * as a number, which needs no memory however long the master is busy. */
static uint64_t untold;
static bool waiting;

static void tell(void)
{
	wcluster_errno e = 0;
	while (untold > 0 && (e = wcluster_send(0, message, sizeof message - 1, -1)) == 0)
		untold--;
	if (e != 0 && e != EAGAIN) /* there is no master any more, and nobody to keep the count for */
		untold = 0;
	if (waiting != (untold > 0)) {
		waiting = untold > 0;
		inbox_want_room(waiting);
	}
}

static void count_request(void)
{
	untold++;
	if (!waiting)
		tell();
}

static bool all_told(void)
{
	return untold == 0;
}

int main(int argc, char **argv)
{
	const serve_hooks hooks = {.request = count_request, .outbox_room = tell, .settled = all_told};
	return serve(argc > 1 ? argv[1] : "tcp://127.0.0.1:8000", &hooks);
}
