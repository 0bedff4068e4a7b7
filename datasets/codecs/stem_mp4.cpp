#include "datasets/codecs/stem_mp4.h"

#include <sndfile.h>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswresample/swresample.h>
}

#include <memory>
#include <stdexcept>

#include "datasets/fail.h"

namespace diffq {
namespace {

struct Free {
  void operator()(AVFormatContext* it) const { avformat_close_input(&it); }
  void operator()(AVCodecContext* it) const { avcodec_free_context(&it); }
  void operator()(SwrContext* it) const { swr_free(&it); }
  void operator()(AVFrame* it) const { av_frame_free(&it); }
  void operator()(AVPacket* it) const { av_packet_free(&it); }
  void operator()(SNDFILE* it) const { sf_close(it); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

std::string error_text(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  return text;
}

/// FFmpeg tells errors as negative numbers.
int check(int code, const std::string& path) {
  if (code < 0) fail(path, "can't be decoded: " + error_text(code) + "; it must be a .stem.mp4 file");
  return code;
}

/// One stream: packets in, 16-bit samples into a WAV file.
class StreamDecoder {
 public:
  StreamDecoder(const std::string& path, const AVStream& stream, std::string output)
      : path_(path), output_(std::move(output)), frame_(av_frame_alloc()) {
    const AVCodec* codec = avcodec_find_decoder(stream.codecpar->codec_id);
    if (!codec) fail(path, "holds sound of an unknown kind; it must be a .stem.mp4 file");
    codec_.reset(avcodec_alloc_context3(codec));
    check(avcodec_parameters_to_context(codec_.get(), stream.codecpar), path_);
    codec_->pkt_timebase = stream.time_base;  // for the samples that an encoder puts before the first
    codec_->thread_count = 1;
    check(avcodec_open2(codec_.get(), codec, nullptr), path_);
  }

  /// Null: no more packets.
  void decode(const AVPacket* packet) {
    check(avcodec_send_packet(codec_.get(), packet), path_);
    while (true) {
      const int code = avcodec_receive_frame(codec_.get(), frame_.get());
      if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
      check(code, path_);
      write();
    }
  }

  void close() {
    if (!file_) fail(path_, "holds a stream without sound");
    if (sf_close(file_.release()) != 0)
      throw std::runtime_error(output_ + ": can't be written; is there room for it?");
  }

 private:
  void open() {
    const int channels = frame_->ch_layout.nb_channels;
    SwrContext* resampler = nullptr;
    check(swr_alloc_set_opts2(&resampler, &frame_->ch_layout, AV_SAMPLE_FMT_S16, frame_->sample_rate,
                              &frame_->ch_layout, AVSampleFormat(frame_->format), frame_->sample_rate, 0,
                              nullptr),
          path_);
    resampler_.reset(resampler);
    check(swr_init(resampler_.get()), path_);
    SF_INFO info{};
    info.channels = channels;
    info.samplerate = frame_->sample_rate;
    info.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
    file_.reset(sf_open(output_.c_str(), SFM_WRITE, &info));
    if (!file_) throw std::runtime_error(output_ + ": can't be written: " + sf_strerror(nullptr));
  }

  void write() {
    if (!file_) open();
    samples_.resize(size_t(frame_->nb_samples) * size_t(frame_->ch_layout.nb_channels));
    auto* out = reinterpret_cast<uint8_t*>(samples_.data());
    auto** in = const_cast<const uint8_t**>(frame_->extended_data);
    const int frames =
        check(swr_convert(resampler_.get(), &out, frame_->nb_samples, in, frame_->nb_samples), path_);
    if (sf_writef_short(file_.get(), samples_.data(), frames) != frames)
      throw std::runtime_error(output_ + ": can't be written; is there room for it?");
  }

  std::string path_, output_;
  Owned<AVCodecContext> codec_;
  Owned<SwrContext> resampler_;
  Owned<AVFrame> frame_;
  Owned<SNDFILE> file_;
  std::vector<short> samples_;
};

}  // namespace

void decode_streams(const std::string& path, const std::vector<std::string>& outputs) {
  av_log_set_level(AV_LOG_QUIET);  // what matters is thrown
  AVFormatContext* opened = nullptr;
  check(avformat_open_input(&opened, path.c_str(), nullptr, nullptr), path);
  const Owned<AVFormatContext> format(opened);
  check(avformat_find_stream_info(format.get(), nullptr), path);
  std::vector<std::unique_ptr<StreamDecoder>> decoders(format->nb_streams);  // null: a picture, say
  size_t found = 0;
  for (unsigned i = 0; i < format->nb_streams; ++i) {
    const AVStream& stream = *format->streams[i];
    if (stream.codecpar->codec_type != AVMEDIA_TYPE_AUDIO) continue;
    if (found < outputs.size()) decoders[i] = std::make_unique<StreamDecoder>(path, stream, outputs[found]);
    ++found;
  }
  if (found != outputs.size()) {
    fail(path, "holds " + std::to_string(found) + " streams of sound; a .stem.mp4 file has " +
                   std::to_string(outputs.size()) + ": the mixture and its stems");
  }
  const Owned<AVPacket> packet(av_packet_alloc());
  int code = 0;
  while ((code = av_read_frame(format.get(), packet.get())) >= 0) {
    if (const auto& decoder = decoders[size_t(packet->stream_index)]) decoder->decode(packet.get());
    av_packet_unref(packet.get());
  }
  if (code != AVERROR_EOF) check(code, path);
  for (const auto& decoder : decoders) {
    if (!decoder) continue;
    decoder->decode(nullptr);
    decoder->close();
  }
}

}  // namespace diffq
