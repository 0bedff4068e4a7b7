# Run at build time: writes OUT, a C++ file that defines a std::string_view in diffq::page_files for each of FILES, named
# after it: charts.js is charts_js.
set(text "#include \"results/page/page_files.h\"\n\nnamespace diffq::page_files {\n\n")
foreach(path ${FILES})
  get_filename_component(file ${path} NAME)
  string(MAKE_C_IDENTIFIER ${file} name)
  file(READ ${path} content)
  string(APPEND text "const std::string_view ${name} = R\"~embedded~(${content})~embedded~\";\n")
endforeach()
file(WRITE ${OUT} "${text}\n}  // namespace diffq::page_files\n")
