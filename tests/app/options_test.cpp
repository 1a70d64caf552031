#include "app/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "app/edit_distance.h"
#include "app/ini.h"
#include "app/option_table.h"
#include "tests/app/support.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Arguments = std::vector<std::string>;
using Paths = std::vector<std::filesystem::path>;

/// Message of the refusal that `call` ends with.
template <typename Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::invalid_input) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

Configuration parse(const Arguments& arguments, Command command = Command::train) {
  return parse_command_line(command, arguments);
}

std::string refused(const Arguments& arguments, Command command = Command::train) {
  return refusal([&] { parse(arguments, command); });
}

TEST(CommandLine, ReadsEveryKindOfValue) {
  const Configuration c = parse({"--train.steps=7", "--model.hidden", "96", "--optimizer.learning_rate=2.5e-4",
                                 "--train.seed=18446744073709551615", "--parallel.schedule=gpipe",
                                 "--train.precision=bf16", "--model.bias=false", "--checkpoint.directory=a b/c",
                                 "--sample.prompt=床前 明月=光", "--checkpoint.resume=120"});
  EXPECT_EQ(c.train.steps, 7);
  EXPECT_EQ(c.model.hidden, 96);
  EXPECT_EQ(c.optimizer.learning_rate, 2.5e-4);
  EXPECT_EQ(c.train.seed, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(c.parallel.schedule, ScheduleKind::gpipe);
  EXPECT_EQ(c.train.precision, DType::bf16);
  EXPECT_FALSE(c.model.bias);
  EXPECT_EQ(c.checkpoint.directory, "a b/c");
  EXPECT_EQ(c.sample.prompt, "床前 明月=光");
  EXPECT_EQ(c.checkpoint.resume, "120");
}

TEST(CommandLine, KeepsDefaultsOfWhatIsNotGiven) {
  EXPECT_EQ(to_ini(parse({})), to_ini(Configuration{}));
  EXPECT_EQ(parse({}).optimizer.beta2, 0.95);
}

TEST(CommandLine, TakesListsRepeatedSpacedOrWithCommas) {
  const Configuration c = parse({"--data.train=a.h5,b.h5", "--data.train", "c d.h5", "e.h5", "--data.validation=v.h5"});
  EXPECT_EQ(c.data.train, (Paths{"a.h5", "b.h5", "c d.h5", "e.h5"}));
  EXPECT_EQ(c.data.validation, (Paths{"v.h5"}));
}

TEST(CommandLine, FlagsAloneMeanTrue) {
  EXPECT_TRUE(parse({"--statistics", "set.h5"}, Command::inspect).inspect.statistics);
  EXPECT_EQ(parse({"--statistics", "set.h5"}, Command::inspect).inspect.path, "set.h5");
  EXPECT_TRUE(parse({"--model.bias"}).model.bias);
  EXPECT_FALSE(parse({"--model.bias", "false"}).model.bias);
}

TEST(CommandLine, OwnSectionMayBeLeftOut) {
  const Configuration c =
      parse({"text", "--input=a.txt", "b.txt", "--validation-share=0.25", "--output", "x.h5"}, Command::pack);
  EXPECT_EQ(c.pack_kind, "text");
  EXPECT_EQ(c.pack_text.inputs, (Paths{"a.txt", "b.txt"}));
  EXPECT_EQ(c.pack_text.validation_share, 0.25);
  EXPECT_EQ(c.pack_text.output, "x.h5");
  EXPECT_EQ(parse({"--top-k=3"}, Command::sample).sample.top_k, 3);
}

TEST(CommandLine, EmptyValueEmptiesAPath) {
  EXPECT_TRUE(parse({"--checkpoint.directory="}).checkpoint.directory.empty());
}

TEST(CommandLine, NegativeNumbersAreValuesAndNotOptions) {
  EXPECT_THAT(refused({"--train.steps", "-5"}), HasSubstr("found '-5', expected an integer >= 1"));
}

TEST(CommandLine, RefusesUnknownKeysWithTheNearest) {
  EXPECT_THAT(refused({"--train.stepz=4"}),
              AllOf(HasSubstr("'train.stepz' (command line)"), HasSubstr("did you mean 'train.steps'?")));
  EXPECT_THAT(refused({"--train.learning_rate=1"}), HasSubstr("did you mean 'optimizer.learning_rate'?"));
  EXPECT_THAT(refused({"--lerning-rate", "1"}), HasSubstr("did you mean 'optimizer.learning_rate'?"));
  EXPECT_THAT(refused({"--inputs=x"}, Command::pack), HasSubstr("did you mean 'pack.input'?"));
  EXPECT_THAT(refused({"--train.ste=4"}), HasSubstr("unknown key 'train.ste'"));  // no guessing from a beginning
}

TEST(CommandLine, RefusesWrongTypesNamingKeyPlaceFoundAndExpected) {
  EXPECT_EQ(refused({"--train.steps=many"}), "train.steps (command line): found 'many', expected an integer >= 1");
  EXPECT_THAT(refused({"--train.steps=1.5"}), HasSubstr("found '1.5', expected an integer"));
  EXPECT_THAT(refused({"--train.steps="}), HasSubstr("found ''"));
  EXPECT_THAT(refused({"--train.steps=10k"}), HasSubstr("found '10k'"));
  EXPECT_THAT(refused({"--optimizer.learning_rate=fast"}), HasSubstr("expected a number >= 0"));
  EXPECT_THAT(refused({"--model.bias=maybe"}), HasSubstr("found 'maybe', expected one of true, false"));
  EXPECT_THAT(refused({"--parallel.schedule=2f2b"}), HasSubstr("expected one of gpipe, 1f1b"));
  EXPECT_THAT(refused({"--checkpoint.resume=newest"}), HasSubstr("expected auto, never or a step"));
  EXPECT_THAT(refused({"--checkpoint.resume=-3"}), HasSubstr("expected auto, never or a step"));
  EXPECT_THAT(refused({"pictures"}, Command::pack), HasSubstr("pack.kind (command line): found 'pictures'"));
}

TEST(CommandLine, RefusesValuesOutOfRange) {
  EXPECT_THAT(refused({"--model.layers=0"}), HasSubstr("expected an integer >= 1 and <= 100000"));
  EXPECT_THAT(refused({"--model.layers=2147483648"}), HasSubstr("found '2147483648'"));
  EXPECT_THAT(refused({"--train.seed=-1"}), HasSubstr("found '-1'"));
  EXPECT_THAT(refused({"--train.seed=18446744073709551616"}), HasSubstr("train.seed"));
  EXPECT_THAT(refused({"--model.dropout=1"}), HasSubstr("expected a number >= 0 and < 1"));
  EXPECT_THAT(refused({"--optimizer.epsilon=0"}), HasSubstr("expected a number > 0"));
  EXPECT_THAT(refused({"--optimizer.learning_rate=nan"}), HasSubstr("found 'nan'"));
  EXPECT_THAT(refused({"--optimizer.learning_rate=inf"}), HasSubstr("found 'inf'"));
  EXPECT_EQ(parse({"--optimizer.beta1=0"}).optimizer.beta1, 0);
}

TEST(CommandLine, RefusesAKeyGivenTwiceAndStrayArguments) {
  EXPECT_THAT(refused({"--train.steps=4", "--train.steps=5"}), HasSubstr("train.steps is given twice"));
  EXPECT_THAT(refused({"a", "b"}, Command::inspect), HasSubstr("inspect.path is given twice"));
  EXPECT_THAT(refused({"--train.steps=4", "5"}), HasSubstr("found '5', expected --section.key=value"));
  EXPECT_THAT(refused({"-n", "5"}), HasSubstr("found '-n'"));
  EXPECT_THAT(refused({"--train.steps"}), HasSubstr("train.steps"));
}

class ConfigurationFile : public ::testing::Test {
 protected:
  std::string file(const std::string& text) {
    test::write_text(folder_ / "run.ini", text);
    return (folder_ / "run.ini").string();
  }
  test::TemporaryFolder folder_;
};

TEST_F(ConfigurationFile, IsReadAndTheCommandLineWins) {
  const std::string ini = file(
      "# a run\n[train]\nsteps = 50   ; short\nseed=3\n\n[ data ] # sets\ntrain = a.h5 b.h5, \"c d.h5\"\n"
      "[sample]\nprompt = 白日 依山#尽, \"x\"\n");
  const Configuration c = parse({"--train.steps=9", "--config", ini});
  EXPECT_EQ(c.train.steps, 9);
  EXPECT_EQ(c.train.seed, 3U);
  EXPECT_EQ(c.data.train, (Paths{"a.h5", "b.h5", "c d.h5"}));
  EXPECT_EQ(c.sample.prompt, "白日 依山#尽, \"x\"");
  EXPECT_EQ(parse({"--config=" + ini, "--data.train=z.h5"}).data.train, (Paths{"z.h5"}));
}

TEST_F(ConfigurationFile, WindowsLineEndsAndByteOrderMarkDoNoHarm) {
  EXPECT_EQ(parse({"--config", file("\xEF\xBB\xBF[train]\r\nsteps = 50\r\n")}).train.steps, 50);
}

TEST_F(ConfigurationFile, MistakesAreRefusedWithTheirLine) {
  const auto message = [&](const std::string& text) { return refused({"--config", file(text)}); };
  EXPECT_THAT(message("[train]\n\nstep = 4\n"), AllOf(HasSubstr("run.ini:3"), HasSubstr("did you mean 'train.steps'")));
  EXPECT_THAT(message("[train]\nsteps = x\n"), HasSubstr("run.ini:2): found 'x', expected an integer >= 1"));
  EXPECT_THAT(message("[train]\nsteps = 1\nsteps = 2\n"), AllOf(HasSubstr("run.ini:2"), HasSubstr("run.ini:3")));
  EXPECT_THAT(message("[train]\nsteps 4\n"), HasSubstr("run.ini:2: found 'steps 4', expected [section] or key"));
  EXPECT_THAT(message("[sample]\nprompt = \"abc\n"), HasSubstr("does not end"));
  EXPECT_THAT(message("[sample]\nprompt = \"a\\qb\"\n"), HasSubstr("unknown escape"));
  EXPECT_THAT(message("steps = 4\n"), HasSubstr("unknown key 'steps'"));
}

TEST_F(ConfigurationFile, MustExistAndBeGivenOnce) {
  EXPECT_THAT(refused({"--config=/no/such.ini"}), AllOf(HasSubstr("--config"), HasSubstr("/no/such.ini")));
  EXPECT_THAT(refused({"--config", folder_.path().string()}), HasSubstr("--config"));
  EXPECT_THAT(refused({"--config=/dev/zero"}), AllOf(HasSubstr("/dev/zero"), HasSubstr("expected an INI file")));
  const std::string ini = file("[train]\nsteps = 4\n");
  EXPECT_THAT(refused({"--config", ini, "--config", ini}), HasSubstr("--config is given twice"));
}

/// Some value of the option that is not its default.
std::vector<std::string> another_value(const Option& option) {
  if (option.is_list) return {"a b.h5", "c,d#1.h5", "\"e\".h5"};
  if (option.type == "integer") {
    Configuration scratch;
    const std::vector<std::string> usual = {"17"};
    return option.read(scratch, usual) ? usual : std::vector<std::string>{"3"};
  }
  if (option.type == "number") return {"0.1234567890123456"};
  if (option.type == "path") return {"  /run 1/#2;\\x "};
  if (option.key == "checkpoint.resume") return {"never"};
  if (option.key == "monitor.listen") return {"127.0.0.1:9400"};
  if (option.expected == "text") return {" \"白日\"\n\t依山尽 # ; \\ \r"};
  const std::string first = option.type.substr(0, option.type.find('|'));
  const std::string last = option.type.substr(option.type.rfind('|') + 1);
  return {option.write(Configuration{}).front() == first ? last : first};
}

TEST(Ini, RoundTripKeepsEveryKey) {
  Configuration changed;
  for (const Option& option : option_table()) ASSERT_TRUE(option.read(changed, another_value(option))) << option.key;
  const Configuration again = parse_ini(to_ini(changed));
  const Configuration defaults = parse_ini(to_ini(Configuration{}));
  for (const Option& option : option_table()) {
    EXPECT_EQ(option.write(again), another_value(option)) << option.key;
    EXPECT_EQ(option.write(defaults), option.write(Configuration{})) << option.key;
  }
}

TEST(Ini, RoundTripKeepsNumbersBitForBit) {
  Configuration c;
  for (const double value : {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, 6e-4, std::nextafter(1.0, 2.0), 1e22}) {
    c.optimizer.learning_rate = value;
    EXPECT_EQ(parse_ini(to_ini(c)).optimizer.learning_rate, value);
  }
  c.train.seed = std::numeric_limits<std::uint64_t>::max();
  c.train.steps = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(parse_ini(to_ini(c)).train.seed, c.train.seed);
  EXPECT_EQ(parse_ini(to_ini(c)).train.steps, c.train.steps);
}

TEST(Ini, RefusalsNameTheText) {
  EXPECT_THAT(refusal([] { parse_ini("[train]\nsteps=x", "step-00000100/model.h5"); }),
              HasSubstr("step-00000100/model.h5:2"));
}

TEST(Ini, SplitsAndQuotes) {
  EXPECT_THAT(split_value("a  \"b c\",d # e", ", ", "here"), ElementsAre("a", "b c", "d"));
  EXPECT_THAT(split_value("a b, c", "", "here"), ElementsAre("a b, c"));
  EXPECT_THAT(split_value(" # only a comment", "", "here"), IsEmpty());
  EXPECT_THAT(split_value("a#b", "", "here"), ElementsAre("a#b"));
  EXPECT_EQ(quote_value("plain/路"), "plain/路");
  EXPECT_EQ(quote_value("a \"b\"\n"), "\"a \\\"b\\\"\\n\"");
  EXPECT_EQ(quote_value(""), "\"\"");
}

TEST(OptionTable, DeclaresEachKeyOnceWithHelpAndCommands) {
  for (const Option& option : option_table()) {
    EXPECT_EQ(find_option(option.key), &option) << option.key;
    EXPECT_FALSE(option.help.empty()) << option.key;
    EXPECT_NE(option.commands, 0U) << option.key;
  }
}

TEST(EditDistance, CountsSingleCharacterChanges) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("sitting", "kitten"), 3);
  EXPECT_EQ(edit_distance("flaw", "lawn"), 2);
}

TEST(Help, ListsCommandsAndTheirKeysWithDefaults) {
  for (const CommandInfo& info : command_list()) EXPECT_THAT(help_text(), HasSubstr(info.name));
  const std::string train = help_text(Command::train);
  EXPECT_THAT(train, AllOf(HasSubstr("--train.steps"), HasSubstr("=1000"), HasSubstr("gpipe|1f1b"),
                           HasSubstr("length of the run, in steps"), Not(HasSubstr("--input"))));
  EXPECT_THAT(help_text(Command::pack), AllOf(HasSubstr("--validation-share"), Not(HasSubstr("train.steps"))));
}

}  // namespace
}  // namespace trireme
