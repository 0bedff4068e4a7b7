// The parser alone: places of syntax errors, duplicates, depth, bytes of any kind.

#include <random>

#include "sweeps/json_reader.h"
#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

std::string syntax_error(const std::string& text) {
  try {
    parse_json(text, "f");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(Json, KeepsOrderAndTakesComments) {
  const OrderedJson json =
      parse_json("// first\n{\"b\": [1, 2.5, \"x\", null, true], /* and */ \"a\": {}} // last", "f");
  EXPECT_EQ(json.dump(), R"({"b":[1,2.5,"x",null,true],"a":{}})");
}

TEST(Json, SyntaxErrorsNameLineAndColumn) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "f: line 1, column 1: not JSON: unexpected end of input"},
      {"{\n  \"a\": 1,\n  \"b\" 2\n}",
       "f: line 3, column 7: not JSON: unexpected number literal; expected ':'"},
      {"[1, 2,]", "f: line 1, column 7: not JSON: unexpected ']'"},
      {"{} x", "f: line 1, column 4: not JSON: invalid literal"},
      {"{}\n{}", "f: line 2, column 1: not JSON: unexpected '{'; expected end of input"},
      {"[nul]", "f: line 1, column 5: not JSON: invalid literal"},
      {"[1e999]", "f: line 1, column 6: not JSON: number overflow parsing '1e999'"},
      {"\"\xff\"", "f: line 1, column 2: not JSON: invalid string: ill-formed UTF-8 byte"},
      {std::string("{}\0{", 4), "f: line 1, column 3: not JSON: a NUL byte; is this a binary file?"},
      {"[NaN]", "f: line 1, column 2: not JSON: invalid literal"},
      {"{} /* no end", "f: line 1, column 13: not JSON: invalid comment; missing closing '*/'"},
  };
  for (const auto& [text, message] : cases)
    EXPECT_EQ(syntax_error(text).substr(0, message.size()), message) << "text: " << text;
}

TEST(Json, DuplicateKeysNameTheirPath) {
  EXPECT_EQ(syntax_error(R"({"a": [1, {"b": 1, "c": {}, "b": 2}]})"),
            "f: a[1].b: duplicate key; keep one of the two");
  EXPECT_EQ(syntax_error(R"({"a": 1, "a": 1})"), "f: a: duplicate key; keep one of the two");
  EXPECT_EQ(syntax_error(R"({"a": {"b": 1}, "b": 1})"), "");
}

TEST(Json, DepthIsBounded) {
  EXPECT_EQ(syntax_error(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_NE(syntax_error(std::string(33, '[') + std::string(33, ']')).find("deeper than 32 levels"),
            std::string::npos);
  EXPECT_NE(syntax_error(std::string(100000, '[')).find("deeper than 32 levels"), std::string::npos);
  std::string objects;
  for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
  EXPECT_NE(syntax_error(objects).find("deeper than 32 levels"), std::string::npos);
}

TEST(Json, MessagesAreOneShortLineWhateverTheFileHolds) {
  const std::string megabyte(1 << 20, 'x');
  for (const std::string& text :
       {"\"" + megabyte, "{\"" + megabyte + "\": 1, \"" + megabyte + "\": 1}", "[" + megabyte,
        "[1" + std::string(1 << 20, '0') + "]", std::string("{\"a\\nb\": 1, \"a\\nb\": 1}")}) {
    const std::string message = syntax_error(text);
    EXPECT_FALSE(message.empty());
    EXPECT_LT(message.size(), 1000u);
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(Json, TruncatedFilesAreRefused) {
  const std::string text = shipped("demo.json");
  for (size_t size = 0; size < text.rfind('}') + 1; ++size)
    EXPECT_EQ(refusal(text.substr(0, size)).substr(0, 13), "s.json: line ") << "cut to " << size;
}

TEST(Json, RandomBytesAreRefused) {
  std::mt19937 random(20240601);
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 300, ' ');
    for (char& c : text) c = char(random());
    EXPECT_NE(refusal(text), "");
  }
}

// Changed files may be valid by chance; what is thrown is invalid_argument, as refusal() lets nothing else
// pass.
TEST(Json, ChangedFilesNeverFailOtherwise) {
  const std::string text = shipped("demo.json");
  const std::string bytes = "{}[]\",:0123456789-.eE/*\\\n tfn\xc3\xff";
  std::mt19937 random(7);
  int refused = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string changed = text;
    for (int i = 0; i < 3; ++i) changed[random() % changed.size()] = bytes[random() % bytes.size()];
    refused += !refusal(changed).empty();
  }
  EXPECT_GT(refused, 3000);
}

TEST(Json, NearestWord) {
  EXPECT_EQ(nearest("lamda", {"bits", "lambda", "noise"}), "lambda");
  EXPECT_EQ(nearest("epoch", {"epsilon", "epochs"}), "epochs");
  EXPECT_EQ(nearest("", {"abc", "ab"}), "ab");
  EXPECT_EQ(nearest("mometnum", {"name", "momentum", "nesterov"}), "momentum");
}

TEST(Json, RangesInWords) {
  EXPECT_EQ(Range::at_least(1).text(), " of at least 1");
  EXPECT_EQ(Range::above(0.5).text(), " above 0.5");
  EXPECT_EQ(Range::between(1, 15).text(), " from 1 to 15");
  EXPECT_EQ((Range{.low = 0, .high = 1, .low_open = true}.text()), " above 0 and at most 1");
  EXPECT_EQ((Range{.low = 0, .high = 1, .high_open = true}.text()), " of at least 0 and below 1");
}

}  // namespace
}  // namespace diffq
