"""Files as torch 2.6 saved them, zlib and base 85: a layer of two by two, its AdamW, random numbers of accelerate.

`old` is torch.save with _use_new_zipfile_serialization=False.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping

_PACKED = {
    "weights": (
        "c-oy*&ui0Q82*yBX&1FW=CA#L37$HbUE10<b!>+sK?rEA2tkCHrlASOb#L;uvcbfIo#-Fod6((Md2lfQ1~1~>vmU(Y(eF#PlBBF-"
        "eh^-gywCSM-}636Q;x+EN~O@)%A#rX+_1VPc9%OE)(RU>ZK;t)k3#DutLr`6Hgs(D)?NOd(=i;QbKBA}4`{IkOkUy0X8uON>bU3V"
        "W<l*^%XWFyG1`60?x@&UcYBUHDDe=>=anQuxTI6-8W8s(ykz$@{J?+6LqcIlj{uw!BURt%LsE`oNZpr_%*yNzOp(Iu0RP6MD$Zdz"
        "-+~JYIVx&fnhR-@@R)Ja-=_!}GbytevL1d2Ihh&4w2!@r;Zh4O_qXASGDVuzX9m`&A#l}uKci5$V0IhkJmCYwafuf&FEg&|whK);"
        "ncDoYwSS#3(W`l)<2iI~<am1%8$D{K)R>Q09$L1Av29R};p&fBYBjx1=18Np&{UTNsc~x(!71z2{_fi2KYNFBpFSVFU0wP@mCP*e"
        "zR!9InylnzSV>W82xnHp-T8R<6aPM>yeoGPUQ?pfMBWTq8Sx&?N@~>p*Mc%nnZLg4K4i(>>_p}TR2nfCyd%4YV`;XvrO~fPwK`Ix"
        "a7H1;a;aJts$#V+*2`k0EQmry5QKWIF4lyyP^*dcdZ|<qy@dQ~?d6G%yr+_(Vn;fI3C)fvkNyXu=wSA8A*92g@k~eI!N8<L@NW!?"
        "#5IZy4n2&0!bY&gC^k5@ObGiufISMy*qH-vE`-3X7&>LnO_}4Cj#Cl4F+y^Y`hxN6-<V$sj{aiMAmQIL-m?VfV>qwh@BIg)gGi<"
    ),
    "weights, old": (
        "c-n1IJ#Q015WQQUZL;JGLIMd5<sn5@aEx&ZQlSWG#g}Qe0G-ZvE8j-Pt><<w2qa4>k_hq}_yK9sB@`f;-$Ow|gODhgI|qp(TkLAy"
        "%)IwzXP+JO^v|cA-*<LTp0Bp{*^}=zy2s%7a?x>|QEt#gCJpvfZneq4r2;uenN%aDDo|Oh!wlF5$qB@FBNbTvURkJ(!SiLEK%1Bx"
        "p)Q!LQKU13hVZ0Ua+qugP2m*<X+|WIst8HN@@ILhauq+)5pr<u_QCaKgF4<SJxmZ-geH%YR#2c$Ee~=vD0CVJs4{EvV6V-g=KHc)"
        "s#9e+RNzfp_)cm<d^rU<)a5+YY<2E+H+$_)=l*89w*igHXf!HHZ%+}fybz9Hf*rvOJ?;_kk4fq2D#C0Z=BiN!I<zpKkZR&3|FLdu"
        "^t#;#?M@FClBQt9wpg(p!ZqO@!u2WB62gr>EEi)~ku%g9yipj&A%<|X%HNU%I<Pv1wQ8t;+qf-UYwdu3?{&GcOJ;E|v%*xX^jw~U"
        "^ONmYzfLD>pTB%Pez^XPUEqz!XOkcJbMhDN?Uzv"
    ),
    "optimizer": (
        "c-pO&Uu@e%9LJsinJFVp%l`0Z6xhIJU79#f+Jv=%z>)`xEd(K~N|WU{*Vx0Y^Rv%oEvhsDEsBJA0U@3cNPC%tc!p<qqeH+Oj{}5|"
        "Kteq6!UN}X=xk?O*TPBGC71jBzTdn1{myBLu{gt|)67WAG8x9~V|_*6K-O$m!Ah?Gs?n&AF-yL7CAtX=CnX4AV+A9KY(kV1nN5gs"
        "Qk;&WKEzdQTB??l9jqHRD_f}J=tft@Xw^0?d5vcw!EsWG&NnTkhal-8Y{M`W{E|1wLQ0B|IeAD+G19Aj2M&o54D5>{Gd(>}Rnst#"
        "igk0<W-nM>WTEc!x{6u2XSxkz818MuVXA^I_hn_R2lr`2S4(PM+yZ2@Lt-4mIEg1l#ppI<Nf+6MiGk*Zn8a{@8;(fq%@DE;a5NBw"
        "hhtup<GWEF@S;5EMR^Fr!)-X>h-9xG;k0;wF2a;X*Yv2jCQ3Yp;qf+{)Pi;eI7OyLF+4$qw%|!IvIU%nOk;Se4X3rBw-U^F$eAIM"
        "bCFpO$zv$Afp;8fj7;q-ma-!EEYs=RP`n7jCX_fSN`5gcC^u`Z&I{lFdF^j{^c{p18|Ip|-*?=0y;=L?uWx=h^7iR%n5QR&NQ_Ez"
        "@!a~mKjz=5()h0-y{BQhi&SMDs?FM48#kJtO}<W#M_I9ZmePf%2lVT*X(2_`;Ou$HP1F_TGR;a@7|@eYl|FVXrDGsi97u=BNLOE8"
        "CWpU@bvjxbP?yV&jk@s6c?#*PI{DR*$zq<pxtQd?3%8+u5uPK7EJl!{IJuUXO8=sKb?R5L0q)bfZQV>TM}2kES;xq9GqF*h2o%n+"
        "89K%Wa-(l8{B+!vcc0rw&oF00RXLk))aP#%`mP$oT&cP0mo9zssavk`J=7P&>V-zVdSLaXrRzI83;xITawGfmw;8H-XD@u%3*V^c"
        "_UXmUzFGA@uKsUdetqFU`o;b0|L6S|{-6DKJ)C?c`<^SB-oryR?4i`Cmk;Q{zwcjMmCo(0Kh9Kq`fJFt$#vhTmkws2$hykkebjr|"
        "z1gC7RGwn;KII%;x{WMyi|8AQ`_hs1ZlgZ4FC+O<Q7H0r^Sn?IDsz=`X-=3c6!=1!FAIE0$P494Azvx-u1i&2N^rynM_oo-v%5b1"
        "cT;x6`RIE*%=>Sji2yqvV{Ubyg#-8#I1>o)L5vx>vcj~#<b(8Ne1tB9X@9{6>5oTg{_dSmB}V9CnD!S<kbZxZ7Q(bY<%9IG<Op2~"
        ")Bdy_56~Y5=wXqBaeqEd1^@e{m_0MSB_@+I!}%v-XLeaO)V~q+`p;8dPdNIiI-C%pV~M24uynpR_aB>8eS!"
    ),
    "optimizer, old": (
        "c-n1~OK;Oa5XWQ3O<U8JQc6pCmbXJ8q|U1;wBgwttd<fkzEqZDZ(<|I&e-eH7DcKAEd(Jx0UrP^e3F&}H;!;aLPDGnQV*=x383PY"
        "Hqp+`{C57HnN9X3Z|%KV_%-?H?eauwlU@88C%-L-3G#3(7Hhf=b~MLQR*~zOjtvZPkO#?)Wnye01=+f(+Q7b$d1A!tO{93{2J#@@"
        "0#1;7h|x0~7ekN4%5icsZ43#ClevK5*mdZYIN$HSN&T^k5il)a1u52oxIle9jGDk{*l{%@rTEyiJYI28)i*6&!N~R;S6LN#=n(|D"
        "m-;)dT1SuwL-+;DQSrmj$V0C@M0|?b>3pV`Dde*GbTJQoG(oNDL%+l<Vc;J~v1GEX5&ag@Fp=-^_gx*iNWW`pn1=(&3JhQvtiTX`"
        "6RkBBb+rx$4U&bCF#dZ*OwYiu(Jyg?eu&T|R${kdg#0nvaJX#*z)=iGDlkUBX9uWw0OL{2oLI=^#55f3Fem;nkA=+RA@c-=lNC7S"
        "OXRDb77Q*jKQWsoK$tW_^=Cr$H2y4xa}_vmL<-C0X0rK$2p32oO9C&_B(~s^#B6~O0+JXmS76E*kAAsO%oIhq(g9rU08#<qS_nvE"
        "n67~6`|?20ma3~Zl)CHqO%F0FkZnOuklCQ6T*#M8%hkn?Ki=)pcB&$*dQd2rzU>5Sw_N)E^TVgH=TqA-Lko@wqgbB5xBmJ|`qeDu"
        "KSpNVz>1DEbsc8QrDq$T%kM{@&?2i1ukNZkTyN83&2f>c8E|7s?jy&Bx@I=W0Ki<ER!~!$*mu>cg<!r-MeAm*Mq0?mCbgE@G|QUr"
        "Asucm(IC?{$*rXjF}MDTNpyvKaC-&rkl~OR<g3B#tOT<Y(HBfqo!F?V$D<0uMNLUhR8uEVDj3pWIU`SJ|J`iIzPqzC7i=chU7IC#"
        "U(COE+`hQ({tZzhM$i"
    ),
    "random numbers": (
        "c-o~@OK;Oa5Z*Y?n)FF26iO*jAcZ!~vq_|)LO?;nA_N1H#l>>$rLl0FjJ>WDBqT0r>6IVAAK<{XcYXmEBraTfLqg)psqETm$U|*~"
        "7|EH$JKuaW-%Pe5_yY(<B526Q&@{5^ieap33Q^+CS4OEgfnE&QTkZ{@m_&0Ro8Tt+1iuueKP<)68g<zw3c<h$e!(Yj+u$$nKtP(L"
        "=cZF{w&cSoj5P?xq%b{r^ekB@q;n8b-H^DfHY^;kI|k7e%TijrY+<!w+Qf2H!b8{#<4w&wg@}OKFrreJhE<!#Ci}tzFZpQlDx8u+"
        ")Ef%X%_Ky(VN`^%9T*p3BF0K=!(=C+Mp{jZo02#h?_}Wg?z<hB7U4{ccF1zA!%Vqcet1C5{SXj=v(?=iFCB`>qTpPOvdoHbp1_5w"
        "zzOKVp}+*@Tq#JyQfqQuF&)M5q`0WM@8YsUbi-yHR~_BZWP(k*VaZ!59_C}7TsDnVHZffCAbhb!@Kf&{4-0Og3AilzsaKm0ToE_|"
        "SDy%owYn(y+Hh@GRU3wZRiaZ>`Nx)qEv((wnYh=NM7Tj9Cc=^{gV}_eM~%f+6+^LjxK;Bcdzpu2CfSMzaVlADSgh45)oP@>Z=d%z"
        "Ai=~+ijdldv<Mj|UJ=5P-(UARnWkh<<;Zm%M~j_xtx^dZtc_A}VQ60m&Cm%kFr#VT-k)W=!JeaOqUcV~zhX5}Dz2Z%ahx%(aO7a>"
        "+g&CacP#fPy4T^}!j?_PRVr@$7df>w&-lN5*nEC6{~XG6_~UN#Hnw!d&|fQTb!1&D6%+qlP9mFI%V+cXY%ZP877A;rTt1axmP;q|"
        "YngN+l}RMisU)lN=l734VziE!TcwW`+pV*ANydgM@4v?evAvTY@56oK(BM)Hf_q07?E}yFQQxWzB6~$2?L)rrB0GZ~g!U>i*9V;n"
        "pkrrL5kjHmPVBsYrHcy=_`J{adjZc=9J_ANui)Rits(?N9wz9<d$E520#bvh"
    ),
    "types": (
        "c-p0v-*4Mg6vrJWbrREGlrgqa#`v8=m-<JNy4zYdGrWRf%REhr5K?esr?&8#9Q&rIm5O*E8z3Pe{s5kM*b6)XLQE=u!+1d3^Bxf("
        "@xmkAdu@#Es>@(kif?|L&-s4u@i|UY&leb`RATn6N#+n^Z`uC#qGckp+JD#6)M@6e%=&=c1*X!<Vc<Q;bvixIvpdM`Z3g^B-?Dw%"
        "I_Gu}5A3`F`AUl;akjhRASiTD&+j<Z_5itFz_)#Sec*al8`+yd&u?!@Jd9N;ts*7@9BFRYz=a5}c|8+d4!`7~NYw=>weooH^aoJZ"
        "3kdj2I-|2Xdkr4KTkaZ+f9wz!69^^^m}=o;GwZGyz_f#P9L@>zi14se)>#BIlpn$)dTt1ZLiSMvhYfgaunR|8WgOhTY9o`B2aeL;"
        "XIrFl@c1swQRBFL0j>o+q341iSf>JgICj9v`=)Q=gtpJalmB>fN)A2E@%S`Pg{OHsbo2~@XAOAnBl_X_>+pgBl@?2m)`j^nNmMkI"
        "R!wZgb$gN8k>Dk)kVCLQ6!1|`kV`epzKB3DK%{{VNU3~lrq_*g$uvZUT9~UI<!X@2QkY9Yux!9dYObrmsS&qd=Hc|eYSpL(_$!-e"
        "yKh^u@Cp^K!D=Y{awL3)T+W8VYGk-e&abrX+Eux`$-^rM&KdA3^%LxX7DZilcW~PCgkKxNYX-bd+sd-HK#xN3d$)sw-iRCS%^_Sc"
        ";3CasA!sHQ#Rd<T2GyosEDeUgyg!c_@@gJ9cvH-5G<fUV$nKFT($vHICNEr`i;!oN<inM_N6C1R*TKohnKOy0UKBL-^Z}XgZ+-af"
        "jn%jR{AzFZyB}_Tva;|aadKq-#@EwWYkGu}M$(C>snY*&!mWL?_bd8ikLaGdaPvA5Dvi)xP3lUTdh!7(K$ME5zh>^7CHI~kp<GBR"
        "%bLnC55U(bPw-EFXMZANkh>>75#!NgiSRN{65RS?<H~6LIi?mRs8R!g?YpMu?wI6x-*zoc75;N2g@z!C%CaIVOG~08%aSC>f>5t7"
        "DT=r(EA@sbE{k<RAug@ozWl6$eN?E+95EaFOpey%KIiHGu`HXMoT(JIooBM6n1z$gKAwVq&NHb|%aX}<O_T2wQlywAlkJiwZ>LG="
        "{z+pjMao$+*<)$)^E6q@lF8<pNRhW<GU~`In!Mw4DRhQo?%9h?o#Pgw*kkz<F;~v)$JucIo(p%(6=@+O2jNJKaUoNt@nP)W5SR=_"
    ),
}
TORCH_FILES: Mapping[str, bytes] = {name: zlib.decompress(base64.b85decode(packed)) for name, packed in _PACKED.items()}
