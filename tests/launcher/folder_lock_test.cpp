#include "launcher/folder_lock.h"

#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/launcher/sweeps.h"
#include "tests/support/idx_files.h"

namespace diffq {
namespace {

class FolderLockTest : public testing::Test {
 protected:
  std::filesystem::path file() const { return folder_.path() / "lock"; }
  void write_lock(const nlohmann::json& change, int seconds_ago) {
    std::filesystem::remove(file());
    nlohmann::json lock;
    {
      const FolderLock own(folder_.path());
      lock = nlohmann::json::parse(content_of(file()));
    }
    lock.update(change);
    write_text(file(), lock.dump());
    std::filesystem::last_write_time(
        file(), std::filesystem::file_time_type::clock::now() - std::chrono::seconds(seconds_ago));
  }

  TemporaryFolder folder_;
};

TEST_F(FolderLockTest, IsThereWhileItIsHeld) {
  EXPECT_FALSE(lock_owner(folder_.path()));
  {
    const FolderLock lock(folder_.path());
    const auto owner = lock_owner(folder_.path());
    ASSERT_TRUE(owner);
    EXPECT_EQ(owner->process, ::getpid());
    EXPECT_TRUE(owner->on_this_host());
    EXPECT_TRUE(owner->alive());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(FolderLockTest, OfAProcessThatIsGoneIsTakenOver) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto* lock = new FolderLock(folder_.path());
    ::_exit(lock == nullptr);  // without giving it back
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const auto owner = lock_owner(folder_.path());
  ASSERT_TRUE(owner);
  EXPECT_EQ(owner->process, child);
  EXPECT_FALSE(owner->alive());
  const FolderLock lock(folder_.path());
  EXPECT_EQ(lock_owner(folder_.path())->process, ::getpid());
}

TEST_F(FolderLockTest, ANumberUsedAgainIsAnotherProcess) {
  write_lock({{"started", "another boot 1"}}, 0);
  EXPECT_FALSE(lock_owner(folder_.path())->alive());
  const FolderLock lock(folder_.path());
}

TEST_F(FolderLockTest, OnAnotherHostAgeDecides) {
  write_lock({{"host", "elsewhere"}}, 30);
  EXPECT_TRUE(lock_owner(folder_.path())->alive());
  EXPECT_NEAR(lock_owner(folder_.path())->age_seconds, 30, 5);
  write_lock({{"host", "elsewhere"}}, 61);
  EXPECT_FALSE(lock_owner(folder_.path())->alive());
  const FolderLock lock(folder_.path());
}

TEST_F(FolderLockTest, RubbishIsTakenOver) {
  for (const char* text : {"", "{", "[]", "{\"host\": \"elsewhere\"}"}) {
    write_text(file(), text);
    std::filesystem::last_write_time(
        file(), std::filesystem::file_time_type::clock::now() - std::chrono::seconds(100));
    const FolderLock lock(folder_.path());
    EXPECT_EQ(lock_owner(folder_.path())->process, ::getpid());
  }
}

TEST_F(FolderLockTest, AFolderThatIsNotThere) {
  const auto missing = folder_.path() / "none";
  const std::string message = message_of<std::runtime_error>([&] { const FolderLock lock(missing); });
  EXPECT_EQ(message.find((missing / "lock").string() + ": can't be written: "), 0u) << message;
}

}  // namespace
}  // namespace diffq
