/* trap — traps four named calls deep. The names stay in the module, so the report can show the path. */
#define NAMED __attribute__((noinline))

static volatile int depth;

NAMED int innermost(int n)
{
	if (n >= 0)
		__builtin_trap();
	return n;
}

/* Each uses the result afterwards, or the call would be a jump and its frame missing from the stack. */
NAMED int inner(int n)
{
	depth = innermost(n + 1) + 1;
	return depth;
}

NAMED int outer(int n)
{
	depth = inner(n + 1) + 1;
	return depth;
}

int main(void)
{
	return outer(depth);
}
