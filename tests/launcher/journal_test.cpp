#include "launcher/journal.h"

#include <regex>

#include "tests/launcher/sweeps.h"
#include "tests/support/idx_files.h"

namespace diffq {
namespace {

class JournalTest : public testing::Test {
 protected:
  std::vector<std::string> kinds() const {
    std::vector<std::string> kinds;
    for (const auto& event : read_journal(path())) kinds.push_back(event.at("event"));
    return kinds;
  }
  std::string refusal() const {
    return message_of<std::invalid_argument>([&] { read_journal(path()); });
  }
  std::filesystem::path path() const { return folder_.path() / "journal.jsonl"; }

  TemporaryFolder folder_;
};

using Kinds = std::vector<std::string>;

TEST_F(JournalTest, IsEmptyWithoutFile) { EXPECT_TRUE(read_journal(path()).empty()); }

TEST_F(JournalTest, HoldsEveryEventOnALineOfItsOwnWithItsTime) {
  Journal journal(path());
  journal.append({{"event", "run_failed"}, {"reason", "line\nbreak, \"quotes\", λ"}});
  journal.append({{"event", "run_done"}, {"metric", 97.25}});
  const auto events = read_journal(path());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["reason"], "line\nbreak, \"quotes\", λ");
  EXPECT_EQ(events[1]["metric"], 97.25);
  const std::regex utc("20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ");
  EXPECT_TRUE(std::regex_match(events[0]["time"].get<std::string>(), utc)) << events[0];
  const std::string text = content_of(path());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST_F(JournalTest, BytesThatAreNoTextAreReplacedAndReadBack) {
  Journal(path()).append({{"event", "run_failed"}, {"reason", "\xff\xfe"}});
  EXPECT_EQ(kinds(), Kinds{"run_failed"});
}

TEST_F(JournalTest, ASecondStartAppends) {
  Journal(path()).append({{"event", "sweep_started"}});
  const std::string first = content_of(path());
  Journal(path()).append({{"event", "sweep_started"}});
  EXPECT_EQ(content_of(path()).substr(0, first.size()), first);
  EXPECT_EQ(kinds(), (Kinds{"sweep_started", "sweep_started"}));
}

TEST_F(JournalTest, ATornLastLineIsIgnoredWhereverItTears) {
  Journal(path()).append({{"event", "sweep_started"}});
  const std::string first = content_of(path());
  Journal(path()).append({{"event", "run_done"}, {"run_id", "a"}});
  const std::string both = content_of(path());
  for (size_t length = first.size(); length < both.size() - 1; ++length) {
    write_text(path(), both.substr(0, length));
    EXPECT_EQ(kinds(), Kinds{"sweep_started"}) << "cut to " << length;
  }
  write_text(path(), both.substr(0, both.size() - 1));
  EXPECT_EQ(kinds(), (Kinds{"sweep_started", "run_done"})) << "only the line break is missing";
}

TEST_F(JournalTest, TheNextStartClosesATornLine) {
  write_text(path(), "{\"event\":\"sweep_started\"}\n{\"event\":\"run_do");
  {
    Journal journal(path());
    journal.append({{"event", "sweep_started"}});
    journal.append({{"event", "run_done"}});
  }
  EXPECT_EQ(kinds(), (Kinds{"sweep_started", "sweep_started", "run_done"}));
}

TEST_F(JournalTest, TheNextStartClosesAWholeLineWithoutBreak) {
  write_text(path(), "{\"event\":\"run_done\"}");
  Journal(path()).append({{"event", "sweep_started"}});
  EXPECT_EQ(kinds(), (Kinds{"run_done", "sweep_started"}));
}

TEST_F(JournalTest, TwoTornStartsInARow) {
  write_text(path(), "{\"event\":\"run_st\n{\"event\":\"sweep_st\n{\"event\":\"sweep_started\"}\n");
  EXPECT_EQ(kinds(), Kinds{"sweep_started"});
}

TEST_F(JournalTest, ADamagedLineInTheMiddleIsRefusedWithItsNumber) {
  for (const std::string damage : {"{\"event\":\"run_do", "rubbish", "[1]", "{\"event\":7}", "{}", "\xff"}) {
    write_text(path(), "{\"event\":\"sweep_started\"}\n" + damage + "\n{\"event\":\"run_done\"}\n");
    EXPECT_EQ(refusal(), path().string() + ": line 2 is damaged; restore the file or remove that line")
        << damage;
  }
}

TEST_F(JournalTest, AFolderThatIsNotThereIsNamed) {
  const auto missing = folder_.path() / "none" / "journal.jsonl";
  const std::string message = message_of<std::runtime_error>([&] { Journal journal(missing); });
  EXPECT_EQ(message, missing.string() + ": can't be opened: No such file or directory");
}

TEST_F(JournalTest, AFullDiskIsNamed) {
  std::filesystem::create_symlink("/dev/full", path());
  const std::string message = message_of<std::runtime_error>([&] {
    Journal(path()).append({{"event", "run_done"}});
  });
  EXPECT_EQ(message, path().string() + ": can't be written: No space left on device");
}

}  // namespace
}  // namespace diffq
