/* echo-messages — sends every message of the master back with "echo:" before it; exits 0 when asked to finish. */
#include "../echo.h"

int main(void)
{
	int32_t inbox;
	wcluster_errno e = wcluster_inbox(&inbox);
	if (e != 0)
		fail("inbox", e);
	void *body = NULL;
	uint32_t cap = 0;
	for (;;) {
		wcluster_record record;
		e = wcluster_receive(body, cap, &record);
		if (e == EAGAIN) {
			wait_for(inbox, WCLUSTER_READ);
		} else if (e == EMSGSIZE) { /* it stays in the inbox until it is asked for with room for all of it */
			cap = record.len;
			body = realloc(body, cap);
			if (body == NULL)
				fail("receive", ENOMEM);
		} else if (e != 0) {
			fail("receive", e);
		} else if (record.kind == WCLUSTER_RECORD_DISCONNECT) {
			return 0;
		} else if (record.kind == WCLUSTER_RECORD_MESSAGE) {
			echo(inbox, body, record.len);
		}
	}
}
