# cmake -DPROGRAM=FILE -P remove_rpath.cmake: takes the build tree's folders out of where a program looks for libraries.
file(RPATH_REMOVE FILE "${PROGRAM}")
