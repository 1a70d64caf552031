// The words of sentences as jieba 0.42 (cut with HMM=False and its whole dict.txt) finds them.
#include "io/segmenter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "kernels/error.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// All words of the dictionary that are part of a sentence below; the last stands for all others' frequencies.
constexpr const char* dictionary =
    "三 42542 m\n三个 8409 m\n上 258101 f\n业 4553 n\n个 125538 q\n中 243191 f\n中国 129470 ns\n"
    "中国科学院 873 nt\n习 1216 v\n了 883634 ul\n于 106176 p\n京 6583 ns\n京都 303 ns\n"
    "京都大学 28 nt\n人 313209 n\n人工 2816 n\n人工智能 151 n\n亿 4023 m\n亿元 15600 m\n"
    "他 401339 r\n件 6482 zg\n使 64655 v\n使用 24035 v\n值 5361 n\n元 28837 m\n光 10895 n\n"
    "公 5628 n\n公司 45604 n\n到 205341 v\n前 62779 f\n包 5289 v\n北 17860 ns\n北京 34488 ns\n"
    "华 4364 ns\n华大 12 nz\n厦 274 ns\n司 5271 nr\n后 124793 f\n和 555815 c\n和尚 3959 nr\n"
    "和服 81 nz\n品 2278 v\n国 29996 n\n在 727915 p\n地 160541 uv\n地上 4925 s\n士 2429 n\n"
    "大 144099 a\n大厦 777 n\n大学 20025 n\n婚 2941 n\n学 17482 n\n学习 13482 v\n学学 97 n\n"
    "学学习 7 n\n学院 29249 n\n安 8837 v\n安装 2382 v\n小 57969 a\n尚 5434 d\n尚未 3798 d\n"
    "工 3771 n\n市 40141 n\n市值 196 n\n床 3204 n\n成 44880 n\n成都 2770 ns\n我 328841 r\n"
    "所 76462 c\n日 78695 m\n日本 25307 ns\n日本京都大学 4 nt\n明 16120 a\n明月 358 t\n"
    "明月光 3 nr\n易 5042 a\n是 796991 v\n智 3359 ng\n智能 778 n\n月 110207 m\n月光 1003 n\n"
    "有 423765 v\n有限 2828 a\n有限公司 6278 n\n服 1095 v\n服装 1876 vn\n未 16803 d\n"
    "未结 3 v\n本 42207 r\n李 9566 nr\n李白 374 nr\n杜 835 nr\n杜甫 1304 nr\n来 161501 v\n"
    "来到 8779 v\n杭 1279 nr\n毕 3209 v\n毕业 5988 n\n永 1763 ns\n永和 317 nz\n深 10646 a\n"
    "深造 262 v\n清 17519 t\n清华 1057 nz\n清华大学 922 nt\n用 76586 p\n甫 559 d\n"
    "疑 1144 vg\n白 12266 a\n的 318825 uj\n研 668 vn\n硕 434 zg\n硕士 1346 n\n科 7098 n\n"
    "科学 13460 n\n科学院 986 n\n算 8888 v\n结 3761 n\n结婚 2967 v\n网 7209 n\n网易 159 n\n"
    "能 93096 v\n装 6904 v\n装饰 1631 n\n装饰品 154 n\n计 4965 n\n计算 5235 v\n计算所 12 n\n"
    "请 23523 v\n软 3730 a\n软件 4601 n\n软件包 41 l\n造 3060 v\n都 202780 d\n长 40281 a\n"
    "长安 5355 ns\n限 2452 v\n院 6957 n\n霜 852 n\n饰 945 v\n饰品 105 n\n其余 51986383 x\n";
const std::vector<std::string> cut_by_jieba = {
    "我|来到|北京|清华大学|学习|人工智能|。",
    "他|来到|了|网易|杭|研|大厦",
    "小|明|硕士|毕业|于|中国科学院|计算所|，|后|在|日本京都大学|深造",
    "永和|服装|饰品|有限公司|，|市值|3|.|5|亿元",
    "床|前|明月光|，|疑|是|地上|霜|。|李白|在|长安|，|杜甫|在|成都|。",
    "请|使用|apt|-|get| |install| |g|+|+| |4|.|8|安装|A| |B| |C|三个|软件包",
    "结婚|的|和|尚未|结婚|的",
};

class SegmenterTest : public testing::Test {
 protected:
  ~SegmenterTest() override { std::filesystem::remove(file_); }

  Segmenter with(const std::string& words) {
    std::ofstream(file_, std::ios::binary) << words;
    return Segmenter(file_);
  }
  static std::string cut(const Segmenter& segmenter, const std::string& text) {
    std::string joined;
    for (const auto& word : segmenter.cut(text)) joined += (joined.empty() ? "" : "|") + std::string(word.text);
    return joined;
  }
  std::string refusal(const std::string& words) {
    try {
      with(words);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input);
      return error.what();
    }
    return "";
  }

  std::filesystem::path file_ = std::filesystem::path(testing::TempDir()) / fmt::format("dict-{}.txt", ::getpid());
};

TEST_F(SegmenterTest, CutsAsJiebaDoes) {
  const Segmenter segmenter = with(dictionary);
  for (const std::string& expected : cut_by_jieba) {
    std::string sentence = expected;
    std::erase(sentence, '|');
    EXPECT_EQ(cut(segmenter, sentence), expected);
  }
}

TEST_F(SegmenterTest, TellsEntitiesFromOtherWords) {
  const Segmenter segmenter = with(dictionary);
  std::vector<std::string> entities, words;
  for (const auto& [text, level] : segmenter.cut("李白在长安学习人工智能，小明在日本京都大学")) {
    if (level == UnitLevel::entity) entities.emplace_back(text);
    if (level == UnitLevel::word) words.emplace_back(text);
  }
  EXPECT_THAT(entities, ElementsAre("李白", "长安", "日本京都大学"));
  EXPECT_THAT(words, ElementsAre("学习", "人工智能"));
}

TEST_F(SegmenterTest, OfAWordThatIsThereTwiceTheLastCountsAndNoneOfFrequencyNought) {
  EXPECT_EQ(cut(with("天地 1 n\n天 9 n\n地 9 n\n天地 900 n\n"), "天地玄"), "天地|玄");
  EXPECT_EQ(cut(with("天地 900 n\n天 9 n\n地 9 n\n天地 0 n\n黄 1 n\n天地黄 0\n"), "天地黄"), "天地|黄");
}

TEST_F(SegmenterTest, RefusesWhatIsNoDictionary) {
  EXPECT_THAT(refusal("天地 9 n\n玄黄\n"), AllOf(HasSubstr(file_.string() + ":2"), HasSubstr("玄黄")));
  EXPECT_THAT(refusal("天地 many n\n"), HasSubstr(":1"));
  EXPECT_THAT(refusal("天地 9 n\n\xCC\xEC 1 n\n"), HasSubstr("byte 11 "));
  EXPECT_THAT(refusal("\n"), HasSubstr("no words"));
  std::filesystem::remove(file_);
  EXPECT_THROW(Segmenter{file_}, Error);
}

}  // namespace
}  // namespace trireme
