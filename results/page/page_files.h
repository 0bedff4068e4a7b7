#pragma once
// The files of this folder and the charting library, built into the program (cmake/embed_files.cmake).

#include <string_view>

namespace diffq::page_files {

extern const std::string_view report_html;  ///< the template: {{title}}, {{content}}, …
extern const std::string_view report_css;
extern const std::string_view charts_js;       ///< Vega-Lite specifications of the charts
extern const std::string_view page_js;         ///< draws them, theme, choice of curves, reload
extern const std::string_view licenses_txt;    ///< of the charting library
extern const std::string_view vega_bundle_js;  ///< Vega, Vega-Lite and Vega-Embed

}  // namespace diffq::page_files
