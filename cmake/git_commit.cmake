cmake_minimum_required(VERSION 3.25)
# Run at each build: writes OUT only when the commit has changed, so that nothing is rebuilt for nothing.
execute_process(COMMAND git -C ${SOURCE} describe --always --abbrev=12 --dirty --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define DIFFQ_GIT_COMMIT \"@commit@\"\n#define DIFFQ_VERSION \"@VERSION@\"\n" @ONLY)
