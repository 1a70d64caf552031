# shellcheck shell=bash
# To be sourced: Debian's Chinese fonts for 'trireme pack ocr', as train_fonts and held_out_font. Installs what is
# missing, or says what to install. FONTS is another folder with the same tree, such as one that was copied.
fonts=${FONTS:-/usr/share/fonts}
train_fonts=(
  "$fonts/opentype/noto/NotoSansCJK-Regular.ttc#2" "$fonts/opentype/noto/NotoSansCJK-Bold.ttc#2"
  "$fonts/opentype/noto/NotoSerifCJK-Regular.ttc#2" "$fonts/opentype/noto/NotoSerifCJK-Bold.ttc#2"
  "$fonts/truetype/wqy/wqy-zenhei.ttc" "$fonts/truetype/arphic/ukai.ttc" "$fonts/truetype/arphic/uming.ttc"
  "$fonts/truetype/lxgw-wenkai/LXGWWenKai-Regular.ttf" "$fonts/truetype/lxgw-wenkai/LXGWWenKai-Bold.ttf"
  "$fonts/truetype/lxgw-wenkai/LXGWWenKaiMono-Regular.ttf"
)
held_out_font=$fonts/truetype/wqy/wqy-microhei.ttc

install_fonts() {
  local packages=(fonts-noto-cjk fonts-wqy-zenhei fonts-wqy-microhei fonts-arphic-ukai fonts-arphic-uming fonts-lxgw-wenkai)
  local font missing=()
  for font in "${train_fonts[@]}" "$held_out_font"; do
    [ -e "${font%#*}" ] || missing+=("${font%#*}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "Installing fonts, for ${missing[0]} and others: ${packages[*]}"
  [ "$(id -u)" -eq 0 ] || { echo "sudo apt-get install ${packages[*]}" >&2 && exit 2; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}
install_fonts
