/* env — prints what it was given, one per line: "arg …" for each argument, "env NAME=value" for each variable. */
#include <stdio.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		printf("arg %s\n", argv[i]);
	for (char **e = environ; e != NULL && *e != NULL; e++)
		printf("env %s\n", *e);
	return 0;
}
